package event

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 14, 9, 900e6, time.UTC)
	router := netip.MustParseAddrPort("10.1.0.1:22011")
	for _, x := range []struct {
		e    Event
		want string
	}{
		{Event{Kind: Station, Text: "Listening on port 1111"}, "[05:14:09.900] Listening on port 1111"},
		{Event{Kind: Adjacency, Address: router, Text: "DOWN (remote closed)"}, "[05:14:09.900] BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 DOWN (remote closed)"},
		{Event{Kind: PeerChange, Address: netip.MustParseAddrPort("[2001:db8::1]:9"), Text: "Peer 10.0.0.2 AS65002 UP"},
			"[05:14:09.900] BMP-1111-PEERCHANGE: Client [2001:db8::1]:9 Peer 10.0.0.2 AS65002 UP"},
		{Event{Kind: Adjacency, Address: router, Text: "DOWN (terminated: \x1b[2J\n[05:14:10.000] Listening on port 1)"},
			`[05:14:09.900] BMP-1111-ADJCHANGE: Client 10.1.0.1:22011 DOWN (terminated: \x1b[2J\x0a[05:14:10.000] Listening on port 1)`},
		{Event{Kind: Station, Text: "a\nb"}, `[05:14:09.900] a\x0ab`},
		{Event{Kind: Admin, Text: "clear client 1 (uid 0)"}, "[05:14:09.900] BMP-1111-ADMIN: clear client 1 (uid 0)"},
	} {
		x.e.Time = at
		if got := x.e.ConsoleLine("1111", time.UTC); got != x.want {
			t.Errorf("%q, not %q", got, x.want)
		}
	}
}

func TestLogKeepsTheNewest(t *testing.T) {
	b := NewBus()
	for i := range LogLines + 5 {
		b.Publish(Event{Time: time.Unix(int64(i), 0), Kind: Station, Text: fmt.Sprint(i), Console: true})
	}
	b.Publish(Event{Time: time.Unix(0, 0), Kind: PeerChange, Text: "not a line", Live: true})
	all, lost := b.Log(time.Time{})
	if len(all) != LogLines || lost != 5 || all[0].Text != "5" || all[LogLines-1].Text != fmt.Sprint(LogLines+4) {
		t.Errorf("%d lines from %q to %q, %d lost", len(all), all[0].Text, all[len(all)-1].Text, lost)
	}
	if some, _ := b.Log(time.Unix(LogLines, 0)); len(some) != 5 {
		t.Errorf("%d lines since", len(some))
	}
}

// TestLogIsInTimeOrder has a line that waited to be summed up with others, and two of one moment.
func TestLogIsInTimeOrder(t *testing.T) {
	b := NewBus()
	for _, x := range []struct {
		sec  int64
		text string
	}{{1, "client up"}, {5, "client down"}, {3, "9 peers up"}, {5, "stopped"}} {
		b.Publish(Event{Time: time.Unix(x.sec, 0), Kind: Station, Text: x.text, Console: true})
	}
	for since, want := range map[int64]string{0: "client up, 9 peers up, client down, stopped", 2: "9 peers up, client down, stopped"} {
		events, _ := b.Log(time.Unix(since, 0))
		var got []string
		for _, e := range events {
			got = append(got, e.Text)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("since %d: %v, want %s", since, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	b := NewBus()
	for range 3 {
		b.Publish(Event{Kind: PeerChange, Client: 7, Live: true})
	}
	b.Publish(Event{Kind: PeerChange, Client: 7, Console: true}) // their sum, which is not a thing that happened
	b.Publish(Event{Kind: Adjacency, Client: 2, Live: true, Console: true})
	want := []Count{{2, Adjacency, 1}, {7, PeerChange, 3}}
	if got := b.Counts(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v", got, want)
	}
	b.Forget(7)
	if got := b.Counts(); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if n := b.Totals()[PeerChange]; n != 3 {
		t.Errorf("%d in all", n)
	}
}

func TestSubscriptionIsBounded(t *testing.T) {
	b := NewBus()
	s := b.Subscribe(Filter{Client: 1, Kinds: KindSet(PeerChange)}, 2)
	other := b.Subscribe(Filter{Console: true}, 10)
	for i := range 5 {
		b.Publish(Event{Time: time.Unix(int64(i), 0), Kind: PeerChange, Client: 1, Live: true, Text: fmt.Sprint(i)})
	}
	b.Publish(Event{Kind: PeerChange, Client: 2, Live: true})
	b.Publish(Event{Kind: Adjacency, Client: 1, Live: true, Console: true})
	if e := <-s.C(); e.Text != "0" {
		t.Errorf("%q came first", e.Text)
	}
	if n, since := s.Dropped(); n != 3 || !since.Equal(time.Unix(2, 0)) {
		t.Errorf("%d dropped since %v", n, since)
	}
	if n, _ := s.Dropped(); n != 0 {
		t.Errorf("%d dropped are told twice", n)
	}
	if e := <-other.C(); e.Kind != Adjacency {
		t.Errorf("a console got %v", e)
	}
	s.Close()
	s.Close()
	if e, ok := <-s.C(); !ok || e.Text != "1" {
		t.Error("what was queued is lost at the end")
	}
	if _, ok := <-s.C(); ok {
		t.Error("the subscription does not end")
	}
	b.Close()
	if _, ok := <-other.C(); ok {
		t.Error("the bus does not end its subscriptions")
	}
	if _, ok := <-b.Subscribe(Filter{Console: true}, 1).C(); ok {
		t.Error("a closed bus takes subscriptions")
	}
}

func TestWants(t *testing.T) {
	b := NewBus()
	if b.Wants(1) {
		t.Error("wanted by nobody")
	}
	plain := b.Subscribe(Filter{Client: 1, Kinds: KindSet(PeerChange)}, 1)
	if b.Wants(1) {
		t.Error("messages are wanted by one who follows peers")
	}
	s := b.Subscribe(Filter{Client: 1, Kinds: KindSet(Message)}, 1)
	if !b.Wants(1) || b.Wants(2) {
		t.Error("not wanted for the client that is followed, or for another")
	}
	s.Close()
	plain.Close()
	if b.Wants(1) {
		t.Error("wanted after the end")
	}
}

// TestPublishNeverBlocks has many publishers and subscribers that come and go, nobody reading.
func TestPublishNeverBlocks(t *testing.T) {
	b := NewBus()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				b.Publish(Event{Kind: Message, Client: 1, Live: true, Console: true})
			}
		})
		wg.Go(func() {
			for range 100 {
				s := b.Subscribe(Filter{Console: true, Client: 1, Kinds: AllKinds}, 3)
				b.Wants(1)
				s.Close()
			}
		})
	}
	wg.Wait()
	if n := b.Totals()[Message]; n != 8000 {
		t.Errorf("%d counted", n)
	}
}
