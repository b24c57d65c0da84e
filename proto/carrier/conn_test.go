package carrier

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

var quick = Options{Window: 100_000, Again: 10 * time.Millisecond, Alive: 20 * time.Millisecond, Nobody: 100 * time.Millisecond,
	Silent: 5 * time.Second, Linger: 5 * time.Second}

// wire carries frames from one end to the other, and may lose, double and delay them. It keeps copies, as a broker does.
type wire struct {
	mu   sync.Mutex
	rnd  *rand.Rand
	loss float64
	to   *Conn
	held []Frame
}

func (w *wire) send(f Frame) error {
	f.Data = bytes.Clone(f.Data)
	w.mu.Lock()
	if w.rnd.Float64() < w.loss {
		w.mu.Unlock()
		return nil
	}
	frames := append(w.held, f)
	w.held = nil
	if w.loss > 0 {
		switch w.rnd.IntN(5) {
		case 0:
			frames = append(frames, f) // twice
		case 1:
			frames, w.held = frames[:len(frames)-1], []Frame{f} // behind the next
		}
	}
	to := w.to
	w.mu.Unlock()
	for _, f := range frames {
		g, err := ParseFrame(f.Header(), f.Data)
		if err != nil {
			return err
		}
		if to != nil {
			to.Receive(g)
		}
	}
	return nil
}

// ends are the two ends of a stream.
func ends(t *testing.T, o Options, loss float64, seed uint64) (a, b *Conn) {
	there := &wire{rnd: rand.New(rand.NewPCG(seed, 1)), loss: loss}
	back := &wire{rnd: rand.New(rand.NewPCG(seed, 2)), loss: loss}
	a = New(o, o.Room(), there.send, nil)
	b = New(o, o.Room(), back.send, nil)
	for _, x := range []struct {
		w *wire
		c *Conn
	}{{there, b}, {back, a}} {
		x.w.mu.Lock()
		x.w.to = x.c
		x.w.mu.Unlock()
	}
	t.Cleanup(func() {
		a.Broken(net.ErrClosed)
		b.Broken(net.ErrClosed)
		<-a.Done()
		<-b.Done()
	})
	return a, b
}

func fill(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Whatever is lost, doubled or turned round on the way, what is read is what was written, in both directions at once, and
// the end comes behind it.
func TestStreamOverLossyWire(t *testing.T) {
	for seed, loss := range []float64{0, 0.05, 0.3} {
		a, b := ends(t, quick, loss, uint64(seed))
		const size = 600_000
		up, down := fill(size, 7), fill(size, 8)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Write(up); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := b.Write(down); err != nil {
				t.Error(err)
			}
		})
		read := func(c *Conn, want []byte) {
			got := make([]byte, size)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("loss %v: read: %v, equal %v", loss, err, bytes.Equal(got, want))
			}
		}
		wg.Go(func() { read(a, down) })
		wg.Go(func() { read(b, up) })
		wg.Wait()
		last := fill(50_000, 9)
		if _, err := a.Write(last); err != nil {
			t.Fatal(err)
		}
		a.Close()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, last) {
			t.Errorf("loss %v: before the end %d bytes, %v", loss, len(got), err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a write to an end that closed: %v", err)
		}
		b.Close()
		<-b.Done()
		<-a.Done()
	}
}

// A reader that does not read holds the writer: what is under way is bounded.
func TestWindow(t *testing.T) {
	a, b := ends(t, quick, 0, 1)
	a.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := a.Write(make([]byte, 1_000_000))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n < quick.Window || n > 2*quick.Window {
		t.Fatalf("%d bytes were taken, %v", n, err)
	}
	b.mu.Lock()
	held := len(b.in)
	b.mu.Unlock()
	if held > quick.Window {
		t.Errorf("%d bytes are held unread, the window is %d", held, quick.Window)
	}
	a.SetWriteDeadline(time.Time{})
	if _, err := io.ReadFull(b, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	go a.Write([]byte("more"))
	got := make([]byte, 4)
	if _, err := io.ReadFull(b, got); err != nil || string(got) != "more" {
		t.Fatalf("after that %q, %v", got, err)
	}
}

func TestDeadlines(t *testing.T) {
	a, _ := ends(t, quick, 0, 1)
	a.SetReadDeadline(time.Unix(1, 0))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	a.SetReadDeadline(time.Time{})
	read := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	a.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// An end that is gone is found out: nobody listens, or nothing comes.
func TestGone(t *testing.T) {
	nowhere := func(Frame) error { return nil }
	o := quick
	o.Silent = 100 * time.Millisecond
	c := New(o, 1000, nowhere, nil)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrSilent) {
		t.Errorf("silent: %v", err)
	}
	var d *Conn
	ready := make(chan struct{})
	over := make(chan struct{})
	d = New(quick, 1000, func(Frame) error {
		<-ready
		d.Unreachable()
		return nil
	}, func() { close(over) })
	close(ready)
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, ErrNobody) {
		t.Errorf("nobody: %v", err)
	}
	<-over
	if _, err := d.Write([]byte("x")); !errors.Is(err, ErrNobody) {
		t.Errorf("write: %v", err)
	}
}

// A moment without a listener is survived.
func TestMomentWithoutListener(t *testing.T) {
	a, b := ends(t, quick, 0, 1)
	a.Unreachable()
	go b.Write([]byte("here"))
	got := make([]byte, 4)
	if _, err := io.ReadFull(a, got); err != nil || string(got) != "here" {
		t.Fatalf("%q, %v", got, err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint64(10), []byte("abc"), "")
	f.Add(uint64(3), uint64(1<<61), uint64(1<<61), []byte("abc"), "x")
	f.Add(uint64(0), uint64(4), uint64(0), []byte{}, "end")
	f.Fuzz(func(t *testing.T, at, got, room uint64, data []byte, end string) {
		c := New(quick, 2, func(Frame) error { return nil }, nil)
		defer c.Broken(net.ErrClosed)
		c.Write([]byte("hello"))
		fr := Frame{At: at, Got: got, Room: room, Data: data, End: end}
		g, err := ParseFrame(fr.Header(), data)
		if err != nil {
			return
		}
		c.Receive(g)
		c.Receive(g)
		c.next(make([]byte, 0, MaxData))
		c.Close()
		c.Receive(g)
		c.next(make([]byte, 0, MaxData))
		if len(c.in) > quick.Window {
			t.Fatal("more than the window")
		}
	})
}
