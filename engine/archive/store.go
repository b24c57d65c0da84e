package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// embeddedPayload is the largest message of the embedded server: a block of one longest BMP message, however badly it
// packs, and its headers.
const embeddedPayload = 32 << 20

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
	msgs   jetstream.Stream
	events jetstream.Stream
	checks jetstream.Stream
}

// Errors that Open may wrap.
var (
	ErrVersion = errors.New("another version of the archive")
	ErrStation = errors.New("the archive of another station")
	ErrInUse   = errors.New("the archive is in use by another process")
)

// openStore opens the folder, if it is one, and connects.
func openStore(ctx context.Context, o *Options) (*store, error) {
	s := &store{o: o, token: token(o.Station)}
	if o.Dir != "" {
		if err := s.claim(); err != nil {
			return nil, err
		}
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
		return fmt.Errorf("%w: %q, not %q", ErrStation, u, station)
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
		if !s.server.JetStreamEnabled() {
			return fmt.Errorf("archive: JetStream cannot use %s", s.o.Dir)
		}
		s.nc, err = nats.Connect("", nats.InProcessServer(s.server), nats.Name("bmp"), nats.MaxReconnects(-1))
	} else {
		opts := append([]nats.Option{nats.Name("bmp " + s.o.Station), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond)}, s.o.NATS...)
		s.nc, err = nats.Connect(s.o.URL, opts...)
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return s.streams(ctx)
}

func (s *store) subject(kind string, part any) string {
	return fmt.Sprintf("bmp.%s.%s.%v", s.token, kind, part)
}

// streams makes the streams or adapts them to the options.
func (s *store) streams(ctx context.Context) (err error) {
	metadata := map[string]string{"bmp-archive": formatVersion, "bmp-station": s.o.Station}
	base := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		Replicas: s.o.Replicas, AllowDirect: true, Metadata: metadata, Duplicates: 30 * time.Second,
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
		var st jetstream.Stream
		st, err = s.stream(ctx, c)
		return st
	}
	s.msgs = open("", "msg", s.o.MaxAge, s.o.MaxBytes)
	s.events = open("_EVENT", "event", s.o.EventAge, max(s.o.MaxBytes/20, 1<<20))
	s.checks = open("_CHECKPOINT", "checkpoint", s.o.MaxAge, 0)
	return err
}

func (s *store) stream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	st, err := s.js.Stream(ctx, c.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		st, err = s.js.CreateStream(ctx, c)
	case err == nil:
		m := st.CachedInfo().Config.Metadata
		if v := m["bmp-archive"]; v != formatVersion {
			return nil, fmt.Errorf("archive: stream %s: %w: %.20q, this program reads %s", c.Name, ErrVersion, v, formatVersion)
		}
		if v := m["bmp-station"]; v != s.o.Station {
			return nil, fmt.Errorf("archive: stream %s: %w: %q, not %q", c.Name, ErrStation, v, s.o.Station)
		}
		st, err = s.js.UpdateStream(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: stream %s: %w", c.Name, err)
	}
	return st, nil
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

// free is how much can be stored before the reserve is touched; not known in a cluster.
func (s *store) free() error {
	if s.o.Dir == "" {
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
			return fmt.Errorf("archive: %w", err)
		}
		left = fs.Bavail * uint64(fs.Bsize)
	}
	if left < reserve {
		return fmt.Errorf("archive: disk full: %d MiB free in %s", left>>20, s.o.Dir)
	}
	return nil
}
