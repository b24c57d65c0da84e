package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"bmp/proto/carrier"
)

// Options of Connect. URL and Station are necessary.
type Options struct {
	URL     string        // of servers, by commas
	NATS    []nats.Option // credentials, TLS
	Station string        // the station's name
	Port    uint16        // its BMP port, for who looks
	Version string        // of the program, like 1.2.3
	// Say, if not nil, is told what there is to be known about the connection, and of another station with the same name.
	Say func(text string)

	carrier carrier.Options // of tests
	again   time.Duration   // of tests: how often others of the name are looked for; 0 is 30 s
}

// Member is a station's place in the cluster. It is a net.Listener of consoles. Its methods may be called by any goroutine.
type Member struct {
	o    Options
	self carrier.Service
	nc   *nats.Conn
	here *nats.Subscription // the name

	consoles chan net.Conn
	closed   chan struct{}
	close    sync.Once
	running  sync.WaitGroup // consoles and requests
	watching sync.WaitGroup
	stop     context.CancelFunc // of watching
	look     chan struct{}
	requests chan struct{} // one each that runs

	mu      sync.Mutex
	service micro.Service
	rivals  map[string]bool // instances that were told of
}

// TakenError says that another station of the cluster has the name.
type TakenError struct {
	Station string
	Other   carrier.Service // zero where it did not answer
}

func (e *TakenError) Error() string {
	if e.Other.Instance == "" {
		return fmt.Sprintf("Another server named %s is in the cluster and does not answer", e.Station)
	}
	return fmt.Sprintf("A server named %s is already running in the cluster: %s", e.Station, where(e.Other))
}

func where(s carrier.Service) string {
	return fmt.Sprintf("port %d on %s, pid %d, since %s", s.Port, s.Host, s.PID, s.Since)
}

// maxRequests is how many single requests are answered at once.
const maxRequests = 32

// Connect connects and claims the station's name; ctx bounds that. The error is a *TakenError where another one has it.
func Connect(ctx context.Context, o Options) (*Member, error) {
	if o.again == 0 {
		o.again = 30 * time.Second
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	ctx, deny := context.WithCancelCause(ctx) // what is not allowed is not answered
	defer deny(nil)
	host, _ := os.Hostname()
	m := &Member{
		o: o, consoles: make(chan net.Conn), closed: make(chan struct{}), look: make(chan struct{}, 1), requests: make(chan struct{}, maxRequests),
		rivals: make(map[string]bool),
		self: carrier.Service{Station: o.Station, Instance: newID(), Host: host, PID: os.Getpid(), Port: int(o.Port),
			Since: time.Now().Format(time.RFC3339Nano)},
	}
	opts := append([]nats.Option{
		nats.Name("bmp " + o.Station + " consoles"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			select {
			case <-m.closed:
			default:
				if err == nil {
					err = errors.New("closed by the server")
				}
				o.Say(fmt.Sprintf("NATS: connection lost (%v), trying again", err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			o.Say("NATS: connected again, to " + nc.ConnectedUrlRedacted())
			m.lookAgain()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Say(fmt.Sprintf("NATS: %v", err))
			if errors.Is(err, nats.ErrPermissionViolation) {
				deny(err)
			}
		}),
	}, o.NATS...)
	var err error
	if m.nc, err = nats.Connect(o.URL, opts...); err != nil {
		return nil, fmt.Errorf("NATS cluster: %w", err)
	}
	if err := m.claim(ctx); err != nil {
		close(m.closed)
		m.nc.Close()
		return nil, err
	}
	watching, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.watching.Go(func() { m.watch(watching) })
	return m, nil
}

// claim has the name, or says who has.
func (m *Member) claim(ctx context.Context) error {
	denied := ctx
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	subject := carrier.HereSubject(m.o.Station)
	// A station that was killed a moment ago may still be known to its server.
	var r *nats.Msg
	var err error
	for range 4 {
		try, stop := context.WithTimeout(ctx, time.Second)
		r, err = m.nc.RequestWithContext(try, subject, nil)
		stop()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) || ctx.Err() != nil {
			break
		}
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
	case denied.Err() != nil:
		return fmt.Errorf("NATS cluster: %w", context.Cause(denied))
	case err == nil:
		e := &TakenError{Station: m.o.Station}
		_ = json.Unmarshal(r.Data, &e.Other) // then there is no more to tell
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &TakenError{Station: m.o.Station}
	default:
		return fmt.Errorf("NATS cluster: %w", err)
	}
	answer, err := json.Marshal(m.self)
	if err != nil {
		return err
	}
	if m.here, err = m.nc.Subscribe(subject, func(q *nats.Msg) { _ = q.Respond(answer) }); err != nil {
		return fmt.Errorf("NATS cluster: %w", err)
	}
	// Of two that came at the same time the older one stays.
	others, err := m.others(ctx)
	if denied.Err() != nil {
		err = context.Cause(denied)
	}
	if err != nil {
		return fmt.Errorf("NATS cluster: %w", err)
	}
	for _, s := range others {
		if s.Since < m.self.Since || s.Since == m.self.Since && s.Instance < m.self.Instance {
			return &TakenError{Station: m.o.Station, Other: s}
		}
	}
	return nil
}

// others are those that answer to the name besides this station. Its own answer says that the question went round.
func (m *Member) others(ctx context.Context) ([]carrier.Service, error) {
	const slack = 100 * time.Millisecond
	inbox := m.nc.NewInbox()
	sub, err := m.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := m.nc.PublishRequest(carrier.HereSubject(m.o.Station), inbox, nil); err != nil {
		return nil, err
	}
	var list []carrier.Service
	round := ctx
	for {
		r, err := sub.NextMsgWithContext(round)
		if err != nil {
			if round != ctx && ctx.Err() == nil {
				return list, nil
			}
			return list, err
		}
		var s carrier.Service
		if json.Unmarshal(r.Data, &s) != nil || s.Instance == "" {
			continue
		}
		if s.Instance != m.self.Instance {
			list = append(list, s)
		} else if round == ctx {
			var cancel context.CancelFunc
			round, cancel = context.WithTimeout(ctx, slack)
			defer cancel()
		}
	}
}

func (m *Member) lookAgain() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// watch looks for others of the name: two parts of a cluster may have had one each.
func (m *Member) watch(ctx context.Context) {
	t := time.NewTicker(m.o.again)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-m.look:
		case <-ctx.Done():
			return
		}
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		list, _ := m.others(bounded) // while the cluster is away nobody is seen
		cancel()
		m.mu.Lock()
		for _, s := range list {
			if !m.rivals[s.Instance] {
				m.rivals[s.Instance] = true
				m.o.Say(fmt.Sprintf("NATS: another server named %s runs in the cluster, and both write the same archive: %s", m.o.Station, where(s)))
			}
		}
		m.mu.Unlock()
	}
}

// Open makes the station found, and has it answer. Accept must be called from now on.
func (m *Member) Open() error {
	s, err := micro.AddService(m.nc, micro.Config{
		Name: carrier.ServiceName, Version: m.o.Version, Description: "BMP station " + m.o.Station, Metadata: m.self.Metadata(),
	})
	if err != nil {
		return fmt.Errorf("NATS cluster: %w", err)
	}
	err = errors.Join(
		s.AddEndpoint("ctl", micro.HandlerFunc(m.request), micro.WithEndpointSubject(carrier.RequestSubject(m.o.Station)),
			micro.WithEndpointMetadataKey("about", "one command; the lines of its reply, the last with the header "+carrier.HeaderCode)),
		s.AddEndpoint("console", micro.HandlerFunc(m.open), micro.WithEndpointSubject(carrier.ConsoleSubject(m.o.Station)),
			micro.WithEndpointMetadataKey("about", "opens a console: bmp -t nats://HOST/"+m.o.Station)),
	)
	if err != nil {
		_ = s.Stop() // the error to tell is the one above
		return fmt.Errorf("NATS cluster: %w", err)
	}
	m.mu.Lock()
	m.service = s
	m.mu.Unlock()
	return nil
}

// Accept is the next console. Its connection is a *Console.
func (m *Member) Accept() (net.Conn, error) {
	select {
	case c := <-m.consoles:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept: the station is not found any more. Consoles go on.
func (m *Member) Close() error {
	var err error
	m.close.Do(func() {
		close(m.closed)
		m.stop()
		m.watching.Wait()
		m.mu.Lock()
		s := m.service
		m.mu.Unlock()
		if s != nil {
			err = s.Stop()
		}
	})
	return err
}

// leaveTime is how long Leave waits for the last words of consoles.
const leaveTime = 4 * time.Second

// Leave closes the connection, after Close. Consoles must have been closed; what they still have to say goes out, for a few
// seconds at most. The name is free then.
func (m *Member) Leave() {
	_ = m.Close()
	finished := make(chan struct{})
	go func() {
		m.running.Wait()
		close(finished)
	}()
	late := time.NewTimer(leaveTime)
	defer late.Stop()
	select {
	case <-finished:
	case <-late.C:
	}
	_ = m.here.Unsubscribe()
	_ = m.nc.FlushTimeout(time.Second) // a cluster that is away hears nothing
	m.nc.Close()
	<-finished // without a connection they end
}

// Addr is the server that the station is connected to.
func (m *Member) Addr() net.Addr { return natsAddr(m.nc.ConnectedUrlRedacted()) }

type natsAddr string

func (natsAddr) Network() string  { return "nats" }
func (a natsAddr) String() string { return string(a) }

// Console is a console that came through the cluster.
type Console struct {
	net.Conn
	Who string // by his own word
}

// hand gives a console to Accept; false: nobody takes it any more.
func (m *Member) hand(c *Console) bool {
	select {
	case m.consoles <- c:
		return true
	case <-m.closed:
		return false
	}
}

func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
