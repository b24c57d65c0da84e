package archive

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultQueue is how many bytes may wait to be stored where Options do not say.
const DefaultQueue = 64 << 20

// Options are those of an archive. Station, and Dir or URL, must be there.
type Options struct {
	Station string // name of the station; part of all subjects

	Dir        string // folder of the embedded server
	SyncAlways bool   // every block is on the disk before it is acknowledged, instead of at most a second later

	URL      string        // of a NATS cluster, in place of Dir
	NATS     []nats.Option // for it: credentials, TLS
	Replicas int           // of streams that are made in a cluster; 0 is 3 where it has so many servers, else 1
	Owner    string        // what gives clients their IDs; streams of another one are refused. Empty: not looked at

	MaxAge   time.Duration // of messages; 0 is 7 days
	MaxBytes int64         // of messages; 0 is 20 GiB
	EventAge time.Duration // of events; 0 is 30 days
	// Changed is since when MaxAge and MaxBytes are what they are; zero: always. What is gone of before is not missed.
	Changed time.Time

	QueueBytes int64 // what may wait to be stored; 0 is DefaultQueue
	Encoders   int   // how many blocks may be packed at once; 0 is one per four processors, at least 1
	// Grace is how long after a session's start routes of the session before may still be held at most (Appender.DropStale says
	// when they went earlier); 0 is an hour. Questions need not look at what came before such a session.
	Grace time.Duration

	// OnGap, if not nil, is told of a gap when it begins (Open) and when it has ended, of a short one when it has ended alone; OnTrouble, when storing begins to
	// fail, and with nil when it goes on. Neither may wait for the archive.
	OnGap     func(Gap)
	OnTrouble func(error)
	OnNote    func(text string) // if not nil, what is to be known of the streams that are opened

	server  natsOptions            // of tests
	publish func(bytes int) error  // of tests: called before a block is stored; an error is a failure to store
	free    func() (uint64, error) // of tests: bytes free on the disk
	now     func() time.Time       // of tests
	hour    time.Duration          // of tests: what an index covers; 0 is 1 h
	list    int                    // of tests: of how many blocks a list is made; 0 is 64, below which filters do
}

type natsOptions struct {
	publishTimeout time.Duration
	openTimeout    time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Station == "" {
		return o, fmt.Errorf("archive: no station name")
	}
	if (o.Dir == "") == (o.URL == "") {
		return o, fmt.Errorf("archive: a folder or the URL of a NATS cluster is needed, one of both")
	}
	set(&o.MaxAge, 7*24*time.Hour)
	set(&o.EventAge, 30*24*time.Hour)
	set(&o.MaxBytes, 20<<30)
	set(&o.QueueBytes, DefaultQueue)
	set(&o.Grace, time.Hour)
	set(&o.hour, time.Hour)
	set(&o.list, 64)
	set(&o.server.publishTimeout, 5*time.Second)
	set(&o.server.openTimeout, 3*time.Second)
	if o.now == nil {
		o.now = time.Now
	}
	return o, nil
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// token is a name as a part of a subject and of a stream's name: letters, digits, - and _ as they are, other bytes as =XX.
func token(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// Gap is messages that could not be kept.
type Gap struct {
	Client   uint32
	Messages uint64
	Bytes    uint64
	From, To time.Time // arrival of the first and the last
	Open     bool      // it has not ended
}
