package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/carrier"
)

// embeddedPayload is the largest message of the embedded server: a block of one longest BMP message, however badly it
// packs, and its headers.
const embeddedPayload = 32 << 20

// leastPayload is what a server must take: a block that was hardly packed, and its headers. A longer block, of one message
// as long as that, is lost where max_payload does not let it through, and counted.
const leastPayload = blockBytes + 128<<10

// reserve is what is left free on the disk: JetStream turns itself off when a write fails for want of space.
const reserve = 64 << 20

// store is the connection to JetStream and, if it is embedded, the server. Its streams are there once it is open.
type store struct {
	o      *Options
	token  string
	lock   *os.File // holds the folder
	server *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	streams
	run   int64   // of this process
	runs  []int64 // see Archive.runs
	ends  []int64 // of runs
	alive int64   // the last sign of life of the run before, as the folder has it; 0: there is none
	began time.Time
	ample atomic.Int64 // until when there is so much room on the disk that nobody need look; nanoseconds since began
}

// streams are those of a station.
type streams struct{ msgs, events, checks jetstream.Stream }

// Errors that Open may wrap; ErrAway, which others may, too.
var (
	ErrVersion = errors.New("another version of the archive")
	ErrStation = errors.New("the archive of another station")
	ErrInUse   = errors.New("the archive is in use by another process")
	ErrAway    = errors.New("no connection to the NATS cluster")
	// ErrNoAnswer is what there is while a cluster has too few servers, or they are choosing a leader.
	ErrNoAnswer = errors.New("JetStream does not answer")
	// ErrUnstored is the answer to a question about a time of which messages wait, while storing fails.
	ErrUnstored = errors.New("archive: storing fails, and what came up to that time is not all stored yet (show log says why)")
	ErrOwner    = errors.New("the archive belongs to another state folder, with other client IDs (bring that folder, take another name, or remove the stream)")
)

// wrap says that an error is the archive's, and of the connection's what it means.
func wrap(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) {
		err = ErrAway
	}
	return fmt.Errorf("archive: %w", err)
}

// wrapIn is wrap where a request took longer than JetStream is given, and not than ctx allows.
func wrapIn(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = ErrNoAnswer
	}
	return wrap(err)
}

// openStore opens the folder, if it is one, and connects.
func openStore(ctx context.Context, o *Options, run int64) (*store, error) {
	s := &store{o: o, token: token(o.Station), began: time.Now(), run: run}
	if o.Dir != "" {
		if err := s.claim(); err != nil {
			return nil, err
		}
		s.alive = readAlive(o.Dir)
	}
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// identity is the first file of the folder: its version, and whose it is.
//
//	bmp archive 1
//	station "edge"
const identityFile = "STATION"

func (s *store) claim() error {
	dir := s.o.Dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	want := fmt.Sprintf("bmp archive %s\nstation %q\n", formatVersion, s.o.Station)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(text) == 0:
		if left, _ := os.ReadDir(filepath.Join(dir, "jetstream")); len(left) > 0 {
			return fmt.Errorf("archive: %s has no %s file but is not empty", dir, identityFile)
		}
		if err := writeWhole(path, want); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	case err != nil:
		return fmt.Errorf("archive: %w", err)
	default:
		if err := checkIdentity(string(text), s.o.Station); err != nil {
			return fmt.Errorf("archive %s: %w", dir, err)
		}
	}
	if s.lock, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		s.lock.Close()
		return fmt.Errorf("archive %s: %w", dir, ErrInUse)
	}
	return nil
}

func writeWhole(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Rename(path+".new", path))
}

func checkIdentity(text, station string) error {
	version, rest, _ := strings.Cut(text, "\n")
	if v, ok := strings.CutPrefix(version, "bmp archive "); !ok {
		return fmt.Errorf("%s is not of an archive: %.40q", identityFile, version)
	} else if v != formatVersion {
		return fmt.Errorf("%w: %.20q, this program reads %s", ErrVersion, v, formatVersion)
	}
	name, ok := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "station ")
	if u, err := strconv.Unquote(name); !ok || err != nil {
		return fmt.Errorf("%s: %.40q is not a station", identityFile, rest)
	} else if u != station {
		return fmt.Errorf("%w: %q, not %q (--name %s goes on with it, or take another state folder)", ErrStation, u, station, u)
	}
	return nil
}

// connect starts the embedded server, connects, and makes or checks the streams.
func (s *store) connect(ctx context.Context) (err error) {
	if s.o.Dir != "" {
		s.server, err = server.NewServer(&server.Options{
			ServerName: "bmp-" + s.token, DontListen: true, NoSigs: true, NoLog: true, MaxPayload: embeddedPayload, MaxPending: 4 * embeddedPayload,
			JetStream: true, StoreDir: s.o.Dir, JetStreamMaxStore: 1 << 50, JetStreamMaxMemory: 64 << 20,
			SyncInterval: time.Second, SyncAlways: s.o.SyncAlways, DisableJetStreamBanner: true,
		})
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		s.server.Start()
		if !s.server.ReadyForConnections(30 * time.Second) {
			return fmt.Errorf("archive: the embedded server does not start in %s", s.o.Dir)
		}
		// To look through what a killed run left takes as long as there is much of it: what follows has its own time.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if !s.server.JetStreamEnabled() {
			return fmt.Errorf("archive: JetStream cannot use %s", s.o.Dir)
		}
		s.nc, err = nats.Connect("", nats.InProcessServer(s.server), nats.Name("bmp"), nats.MaxReconnects(-1))
	} else {
		// What cannot be sent at once is tried again by who sends it, and held nowhere else.
		opts := append([]nats.Option{nats.Name("bmp " + s.o.Station + " archive"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
			nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, s.o.NATS...)
		s.nc, err = nats.Connect(s.o.URL, opts...)
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if n := s.nc.MaxPayload(); n < leastPayload {
		return fmt.Errorf("archive: %s takes messages of %d bytes, blocks need %d (max_payload)", s.nc.ConnectedUrlRedacted(), n, leastPayload)
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithPublishAsyncTimeout(s.o.server.publishTimeout)); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	opened, err := s.openStreams(ctx, s.o, false)
	if err == nil {
		s.streams = opened
	}
	return err
}

func (s *store) subject(kind string, part any) string {
	return fmt.Sprintf("bmp.%s.%s.%v", s.token, kind, part)
}

// openStreams makes the streams or adapts them to options. With strict it fails where one cannot be as large as asked for.
func (s *store) openStreams(ctx context.Context, o *Options, strict bool) (all streams, err error) {
	metadata := map[string]string{"bmp-archive": formatVersion, carrier.ArchiveStation: o.Station}
	if o.Owner != "" {
		metadata["bmp-owner"] = o.Owner
	}
	base := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		AllowDirect: true, Metadata: metadata, Duplicates: 30 * time.Second,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1,
	}
	open := func(suffix, kind string, age time.Duration, bytes int64) jetstream.Stream {
		if err != nil {
			return nil
		}
		c := base
		c.Name = "BMP_" + s.token + suffix
		c.Subjects = []string{s.subject(kind, "*")}
		c.MaxAge, c.Duplicates = age, min(c.Duplicates, age)
		if bytes > 0 {
			c.MaxBytes = bytes
		}
		if kind == "msg" {
			c.Metadata = maps.Clone(metadata)
			c.Metadata[runsKey] = "" // stream1 fills it in
		}
		var st jetstream.Stream
		st, err = s.stream(ctx, c, strict)
		return st
	}
	all.msgs = open("", "msg", o.MaxAge, o.MaxBytes)
	most := o.MaxBytes
	if err == nil {
		most = all.msgs.CachedInfo().Config.MaxBytes // there may be less room
	}
	all.events = open("_EVENT", "event", o.EventAge, max(most/20, 1<<20))
	// What is asked about needs a checkpoint from before it, and what is known of blocks to tell that some have gone since.
	all.checks = open("_CHECKPOINT", "checkpoint", 2*o.MaxAge, indexShare(most))
	return all, err
}

// indexShare bounds what indices, lists and checkpoints take beside so many bytes of blocks. It is more than the indices
// need; checkpoints every hour, of large tables that hardly change, may want more: the oldest of all go first.
func indexShare(blocks int64) int64 { return max(blocks/4, 64<<20) }

// stream opens a stream or makes it. While a cluster chooses a leader it answers nothing, or that it cannot now: it is asked
// again until ctx ends.
func (s *store) stream(ctx context.Context, c jetstream.StreamConfig, strict bool) (st jetstream.Stream, err error) {
	for {
		try, cancel := context.WithTimeout(ctx, s.o.server.openTimeout)
		st, err = s.stream1(try, c, strict)
		cancel()
		if s.o.Dir != "" || err == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) &&
			!errors.Is(err, nats.ErrReconnectBufExceeded) && !refusedFor(err, errUnavailable) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *store) stream1(ctx context.Context, c jetstream.StreamConfig, strict bool) (jetstream.Stream, error) {
	st, err := s.js.Stream(ctx, c.Name)
	if _, ok := c.Metadata[runsKey]; ok && (err == nil || errors.Is(err, jetstream.ErrStreamNotFound)) {
		var was map[string]string
		if err == nil {
			was = st.CachedInfo().Config.Metadata
		}
		c.Metadata[runsKey], c.Metadata[endsKey] = s.addRun(was[runsKey], was[endsKey], s.alive)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		st, err = s.create(ctx, c)
	case err == nil:
		m := st.CachedInfo().Config.Metadata
		if v := m["bmp-archive"]; v != formatVersion {
			return nil, fmt.Errorf("archive: stream %s: %w: %.20q, this program reads %s", c.Name, ErrVersion, v, formatVersion)
		}
		if v := m[carrier.ArchiveStation]; v != s.o.Station {
			return nil, fmt.Errorf("archive: stream %s: %w: %q, not %q", c.Name, ErrStation, v, s.o.Station)
		}
		if v := m["bmp-owner"]; v != s.o.Owner && v != "" && s.o.Owner != "" {
			return nil, fmt.Errorf("archive: stream %s: %w", c.Name, ErrOwner)
		}
		var adapted jetstream.Stream
		if adapted, err = s.update(ctx, st.CachedInfo().Config, c, strict); err == nil {
			st = adapted
		} else if s.o.Dir != "" && !strict && refusedFor(err, errNotWritten) {
			// The disk is full: it is good as it was.
			s.note("stream %s is left as it was: %v", c.Name, err)
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("archive: stream %s: %w", c.Name, err)
	}
	return st, nil
}

// runsKey is the metadata of the stream of messages with the times of the station's starts. A client that did not come
// in a run has no block of it, and yet what the station held of the client ended with it.
const runsKey = "bmp-runs"

// endsKey is likewise the last sign of life that there is of each, 0 for none: what clients had said by then is known, also where
// the station was killed. There are signs in a folder alone; in a cluster what is known of a client ends with its last message.
const endsKey = "bmp-ends"

// maxRuns bounds the starts that are remembered.
const maxRuns = 1000

// addRun adds this run to those there were, of which the last gave its last sign of life at a time, and returns them all, and
// their ends, as they are stored.
func (s *store) addRun(runs, ends string, before int64) (newRuns, newEnds string) {
	parse := func(text string) (list []int64) {
		for _, field := range strings.Fields(text) {
			n, _ := strconv.ParseInt(field, 10, 64)
			list = append(list, n)
		}
		return list
	}
	s.runs, s.ends = parse(runs), parse(ends)
	s.ends = append(s.ends, make([]int64, max(0, len(s.runs)-len(s.ends)))...)[:len(s.runs)]
	if n := len(s.runs); n == 0 || s.runs[n-1] != s.run {
		if n > 0 && before > s.runs[n-1] {
			s.ends[n-1] = min(before, s.run)
		}
		s.runs, s.ends = append(s.runs, s.run), append(s.ends, 0)
	}
	from := max(0, len(s.runs)-maxRuns)
	s.runs, s.ends = s.runs[from:], s.ends[from:]
	return numbers(s.runs...), numbers(s.ends...)
}

// aliveFile has the time up to which all that came is known, unix nanoseconds, 8 bytes big endian: it is written to all
// the time, which is for the page cache alone.
const aliveFile = "alive"

// aliveSpare is for how long a session may have read a message that it has not handed over yet.
const aliveSpare = 250 * time.Millisecond

func readAlive(dir string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, aliveFile))
	if err != nil || len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// clusterReplicas is how many times a block is kept in a cluster: as many that one server may be lost and writing goes on.
const clusterReplicas = 3

// fewerKey marks, in its metadata, a stream for which there was no place for so many when it was made. They are tried for
// again when it is opened.
const fewerKey = "bmp-fewer-replicas"

// Error codes of JetStream that its client does not name.
const (
	errNoPlace        jetstream.ErrorCode = 10005 // as many servers that fit are not there
	errUnavailable    jetstream.ErrorCode = 10008 // for the moment
	errNoStorage      jetstream.ErrorCode = 10047
	errNotClustered   jetstream.ErrorCode = 10074
	errHeaderLong     jetstream.ErrorCode = 10097
	errNotWritten     jetstream.ErrorCode = 10069     // its configuration
	leastStreamOfFull                     = 256 << 20 // of a stream that was made smaller than asked for
)

func refusedFor(err error, codes ...jetstream.ErrorCode) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && slices.Contains(codes, e.ErrorCode)
}

// create makes a stream, of as many replicas, and as large, as there may be.
func (s *store) create(ctx context.Context, c jetstream.StreamConfig) (st jetstream.Stream, err error) {
	auto := s.o.Replicas == 0 && s.o.Dir == ""
	c.Replicas = max(s.o.Replicas, 1)
	if auto {
		c.Replicas = clusterReplicas
	}
	want := c.MaxBytes
	for {
		st, err = s.js.CreateStream(ctx, c)
		if auto && c.Replicas > 1 && refusedFor(err, errNotClustered) {
			c.Replicas = 1
			continue
		}
		if auto && c.Replicas > 1 && refusedFor(err, errNoPlace) {
			// It may be that so many are too large, or that a server is away.
			fewer := c
			fewer.Replicas, fewer.Metadata = 1, maps.Clone(c.Metadata)
			fewer.Metadata[fewerKey] = "1"
			if st, ferr := s.js.CreateStream(ctx, fewer); ferr == nil {
				s.note("stream %s is kept once only: the cluster has no place for %d replicas now", c.Name, clusterReplicas)
				return st, nil
			}
		}
		if c.MaxBytes/2 < leastStreamOfFull || !refusedFor(err, errNoPlace, errNoStorage) {
			break
		}
		c.MaxBytes /= 2
	}
	if err == nil && c.MaxBytes != want {
		s.note("stream %s holds %d MiB at most: the servers have no room for %d MiB", c.Name, c.MaxBytes>>20, want>>20)
	}
	return st, err
}

// update adapts a stream to the options. Its replicas may have been changed by hand.
func (s *store) update(ctx context.Context, was, c jetstream.StreamConfig, strict bool) (jetstream.Stream, error) {
	c.Replicas = was.Replicas
	switch {
	case s.o.Dir != "" || s.o.Replicas != 0:
		c.Replicas = max(s.o.Replicas, 1)
	case was.Metadata[fewerKey] != "":
		more := c
		more.Replicas = clusterReplicas
		if st, err := s.js.UpdateStream(ctx, more); err == nil {
			return st, nil
		}
		c.Metadata = maps.Clone(c.Metadata)
		c.Metadata[fewerKey] = "1"
		s.note("stream %s is kept once only: the cluster has no place for %d replicas now", c.Name, clusterReplicas)
	}
	st, err := s.js.UpdateStream(ctx, c)
	if !strict && refusedFor(err, errNoPlace, errNoStorage) && was.MaxBytes < c.MaxBytes {
		if c.MaxBytes = was.MaxBytes; c.MaxBytes > 0 {
			s.note("stream %s holds %d MiB at most: the servers have no room for more", c.Name, c.MaxBytes>>20)
		}
		st, err = s.js.UpdateStream(ctx, c)
	}
	return st, err
}

func (s *store) note(format string, args ...any) {
	if s.o.OnNote != nil {
		s.o.OnNote(fmt.Sprintf(format, args...))
	}
}

// shut ends connection and server; the folder stays claimed.
func (s *store) shut() {
	if s.nc != nil {
		s.nc.Close()
		s.nc = nil
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
}

func (s *store) close() {
	s.shut()
	if s.lock != nil {
		s.lock.Close()
		s.lock = nil
	}
}

// amplyFree is how much makes it needless to look again for amplyFor: more than anybody writes in that time.
const (
	amplyFree = 1 << 30
	amplyFor  = 50 * time.Millisecond
)

// free is an error where the reserve is touched; what is left in a cluster is not known.
func (s *store) free() error { return s.room(0) }

// room is an error where less than so many bytes are left besides the reserve.
func (s *store) room(bytes uint64) error {
	if s.o.Dir == "" {
		return nil
	}
	now := time.Since(s.began) // whatever the clock is set to
	if bytes <= amplyFree/2 && now < time.Duration(s.ample.Load()) {
		return nil
	}
	var left uint64
	if s.o.free != nil {
		n, err := s.o.free()
		if err != nil {
			return err
		}
		left = n
	} else {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(s.o.Dir, &fs); err != nil {
			return err
		}
		left = fs.Bavail * uint64(fs.Bsize)
	}
	if left < reserve+bytes {
		return fmt.Errorf("disk full: %d MiB free in %s", left>>20, s.o.Dir)
	}
	if left >= reserve+amplyFree {
		s.ample.Store(int64(now + amplyFor))
	}
	return nil
}
