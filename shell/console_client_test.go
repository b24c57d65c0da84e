package shell

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"bmp/proto/control"
	"bmp/shell/edit/edittest"
)

// consoles is a control port with the editor, on which a fake station answers.
type consoles struct {
	*fakeStation
	server *control.Server
	addr   string
	stop   func() // as a station stops: returns when all consoles have ended
}

// newConsoles listens on loopback. All that it started has ended when the test has, or the test fails.
func newConsoles(t *testing.T, role control.Role, change func(*control.ServerOptions)) *consoles {
	t.Helper()
	f := newStation(t, role)
	f.end()
	noLeak(t)
	o := control.ServerOptions{
		Handler: f, Version: "9", Station: f.label, Console: Console, AuthDelay: time.Millisecond,
		Keys:    func() []control.Key { return []control.Key{{Role: control.RoleAdmin, Secret: "s3cret"}} },
		Monitor: func(ctx context.Context, e *control.Emit) { e.Text("[05:11:33.471] a console line"); <-ctx.Done() },
	}
	if change != nil {
		change(&o)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &consoles{fakeStation: f, server: control.NewServer(o), addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetWriteBuffer(16 << 10) // a client that does not read is met soon
			wg.Go(func() {
				// Why a console ended is told to the console.
				_ = c.server.Serve(ctx, conn, control.Link{Role: role, Who: conn.RemoteAddr().String(), TCP: true, Token: true})
			})
		}
	})
	c.stop = sync.OnceFunc(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	t.Cleanup(c.stop)
	return c
}

// noLeak fails a test that leaves goroutines behind.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if n := runtime.NumGoroutine(); n <= before {
				return
			} else if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// telnetClient is a telnet client as RFC 854 describes it, on a screen.
type telnetClient struct {
	*edittest.Screen
	conn *net.TCPConn
	// accept says which options it takes: those it may be asked to do (DO), and those we may (WILL).
	accept map[[2]byte]bool
	ended  chan struct{} // closed when the connection has ended

	writing sync.Mutex
	mu      sync.Mutex
	raw     bytes.Buffer // as received
	paused  chan struct{}
	on      map[[2]byte]bool
}

// The options of a usual client.
var usual = map[[2]byte]bool{{telnetWill, optionEcho}: true, {telnetWill, optionSGA}: true, {telnetDo, optionNAWS}: true, {telnetDo, optionSGA}: true}

func dialTelnet(t *testing.T, c *consoles, cols, rows int, accept map[[2]byte]bool) *telnetClient {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	x := &telnetClient{Screen: edittest.New(t, cols, rows), conn: conn.(*net.TCPConn), accept: accept, ended: make(chan struct{}), on: map[[2]byte]bool{}}
	typed := make(chan struct{})
	go func() {
		defer close(typed)
		b := make([]byte, 4096)
		for {
			n, err := x.In.Read(b)
			if err != nil {
				return
			}
			x.write(b[:n])
		}
	}()
	go func() {
		defer close(x.ended)
		x.read()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-x.ended
		if in, ok := x.In.(io.Closer); ok {
			in.Close()
		}
		<-typed
	})
	return x
}

// interactive is a client that has asked for the editor by a command.
func interactive(t *testing.T, c *consoles, cols, rows int) *telnetClient {
	t.Helper()
	x := dialTelnet(t, c, cols, rows, usual)
	x.Holds("201 bmp")
	x.Type("terminal interactive\r\n")
	x.prompts()
	return x
}

// prompts waits for the prompt of the editor.
func (x *telnetClient) prompts() {
	x.T.Helper()
	x.Until("the prompt", func(text string) bool { return strings.HasSuffix(text, "\nbmp#") || strings.HasSuffix(text, "\nbmp>") })
}

func (x *telnetClient) write(b []byte) {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.conn.Write(b) // a connection that has gone shows on the screen
}

// send sends bytes as they are.
func (x *telnetClient) send(s string) { x.write([]byte(s)) }

// naws tells the size of the window.
func (x *telnetClient) naws(cols, rows int) {
	b := []byte{telnetIAC, telnetSB, optionNAWS}
	for _, n := range []int{cols >> 8, cols & 255, rows >> 8, rows & 255} {
		b = append(b, byte(n))
		if n&255 == telnetIAC {
			b = append(b, telnetIAC)
		}
	}
	x.write(append(b, telnetIAC, telnetSE))
}

// resize gives the window another size and tells it.
func (x *telnetClient) resize(cols, rows int) {
	x.Resize(cols, rows)
	x.naws(cols, rows)
}

// pause stops reading until resume.
func (x *telnetClient) pause() (resume func()) {
	p := make(chan struct{})
	x.mu.Lock()
	x.paused = p
	x.mu.Unlock()
	return sync.OnceFunc(func() { close(p) })
}

func (x *telnetClient) received() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.String()
}

// hasOn reports whether an option is on.
func (x *telnetClient) hasOn(verb, option byte) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.on[[2]byte{verb, option}]
}

// closed waits for the end of the connection.
func (x *telnetClient) closed() {
	x.T.Helper()
	select {
	case <-x.ended:
	case <-time.After(20 * time.Second):
		text, _, _ := x.Text()
		x.T.Fatalf("the connection stands:\n%s", text)
	}
}

// read draws what comes, and answers what is asked.
func (x *telnetClient) read() {
	var held []byte // of a sequence not yet whole
	b := make([]byte, 4096)
	for {
		x.mu.Lock()
		paused := x.paused
		x.mu.Unlock()
		if paused != nil {
			<-paused
		}
		n, err := x.conn.Read(b)
		x.mu.Lock()
		x.raw.Write(b[:n])
		x.mu.Unlock()
		held = x.draw(append(held, b[:n]...))
		if err != nil {
			return
		}
	}
}

func (x *telnetClient) draw(b []byte) (rest []byte) {
	var text []byte
	for len(b) > 0 {
		switch {
		case b[0] == '\r':
			if len(b) < 2 {
				x.Write(text)
				return b
			}
			text = append(text, '\r')
			switch b[1] {
			case 0:
			case '\n':
				text[len(text)-1] = '\n' // the screen adds its own
			default:
				x.T.Errorf("CR and %q: neither CR LF nor CR NUL", b[1])
			}
			b = b[2:]
		case b[0] == '\n':
			x.T.Error("LF without CR")
			b = b[1:]
		case b[0] != telnetIAC:
			text, b = append(text, b[0]), b[1:]
		case len(b) < 2 || b[1] >= telnetSB && len(b) < 3:
			x.Write(text)
			return b
		case b[1] == telnetIAC:
			text, b = append(text, b[0]), b[2:]
		case b[1] > telnetSB:
			x.option(b[1], b[2])
			b = b[3:]
		default:
			b = b[2:]
		}
	}
	x.Write(text)
	return nil
}

// option answers as RFC 854 wants it: a request for what is so already gets no answer.
func (x *telnetClient) option(verb, option byte) {
	positive, no := verb, byte(telnetDont)
	yes := byte(telnetDo)
	switch verb {
	case telnetWont:
		positive = telnetWill
	case telnetDo, telnetDont:
		positive, yes, no = telnetDo, telnetWill, telnetWont
	}
	key := [2]byte{positive, option}
	x.mu.Lock()
	was := x.on[key]
	want := verb == positive
	x.on[key] = want && (was || x.accept[key])
	is := x.on[key]
	x.mu.Unlock()
	switch {
	case option == optionTiming, was == is && was == want:
	case is:
		x.write([]byte{telnetIAC, yes, option})
		if key == [2]byte{telnetDo, optionNAWS} {
			x.naws(x.Size())
		}
	default:
		x.write([]byte{telnetIAC, no, option})
	}
}

// offers makes the client negotiate by itself, as one does on telnet's own port.
func (x *telnetClient) offers() {
	// DO SGA, WILL TTYPE, WILL NAWS, WILL TSPEED, WILL LFLOW, WILL LINEMODE, WILL NEW-ENVIRON, DO STATUS.
	x.mu.Lock()
	x.on[[2]byte{telnetDo, optionNAWS}], x.on[[2]byte{telnetWill, optionSGA}] = true, true
	x.mu.Unlock()
	x.send("\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x21\xff\xfb\x22\xff\xfb\x27\xff\xfd\x05")
	x.naws(x.Size())
}

// await waits for a condition.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}
