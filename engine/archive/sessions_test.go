package archive

import (
	"testing"
	"time"

	"bmp/proto/bgp"
	"bmp/proto/bmp"
	"bmp/proto/bmptest"
)

// TestSessionsSayWhenTheLastMessageCame: of each, whether it is in a block that Sessions reads, or in one with messages alone.
func TestSessionsSayWhenTheLastMessageCame(t *testing.T) {
	for name, each := range map[string]bool{"in few blocks": false, "in blocks of their own": true} {
		t.Run(name, func(t *testing.T) {
			a := open(t, Options{})
			began := time.Now().Add(-time.Hour).Truncate(time.Second)
			peer := bmptest.NewPeer("10.0.0.1", 65000)
			u := bmptest.Update{ASPath: []uint32{65000}, Announce: bmptest.Prefixes("10.1.1.0/24")}
			route := new(bmptest.Session).Monitor(peer, bmp.AdjInPre, u.Bytes()).Bytes()
			p := a.Client(1)
			minute := func(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }
			flush := func() {
				if each {
					syncArchive(t, a, 1)
				}
			}
			// They have so many messages, a minute after each other, and end another one later; the last goes on.
			at := 0
			var want []time.Time
			for n, messages := range []int{3, 0, 1, 2} {
				p.Begin(SessionRecord{Session: uint32(n + 1), Time: minute(at), Start: minute(at)})
				flush()
				want = append(want, time.Time{})
				for range messages {
					at++
					want[n] = minute(at)
					p.Append(&Entry{Time: want[n], Session: uint32(n + 1), Raw: route, Context: bgp.Context{AS4: true}})
					flush()
				}
				if at++; n < 3 {
					p.End(SessionRecord{Session: uint32(n + 1), Time: minute(at)})
					flush()
				}
			}
			syncArchive(t, a, 1)
			list, err := a.Sessions(bg, 1)
			if err != nil || len(list) != len(want) {
				t.Fatal(list, err)
			}
			for n, s := range list {
				if !s.LastMessage.Equal(want[n]) {
					t.Errorf("session %d: %v, want %v", n+1, s.LastMessage, want[n])
				}
			}
		})
	}
}

// TestDropsAreNoMessages: of a session that has no end, either.
func TestDropsAreNoMessages(t *testing.T) {
	dir := t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	a := open(t, Options{Dir: dir, now: func() time.Time { return began }})
	peer := bmptest.NewPeer("10.0.0.1", 65000)
	p := a.Client(1)
	p.Begin(SessionRecord{Session: 1, Time: began, Start: began})
	up, stats := new(bmptest.Session).PeerUp(peer).Bytes(), new(bmptest.Session).Statistics(peer, bmptest.Counter(0, 7)).Bytes()
	at := feed(p, [][]byte{up}, began.Add(time.Second), time.Second)
	for range 3 {
		syncArchive(t, a, 1)
		at = feed(p, [][]byte{stats, stats}, at.Add(time.Second), time.Second)
		syncArchive(t, a, 1)
		p.DropStale(at, 1, 0, PeerKeyOf(&peer.Header), bmp.AdjInPre, bgp.IPv4Unicast)
		at = feed(p, [][]byte{up}, at.Add(time.Second), time.Second)
	}
	syncArchive(t, a, 1)
	closeArchive(t, a)
	a = open(t, Options{Dir: dir})
	list, err := a.Sessions(bg, 1)
	if want := uint64(4*len(up) + 6*len(stats)); err != nil || len(list) != 1 || list[0].Messages != 10 || list[0].Bytes != want {
		t.Errorf("%+v, want 10 messages, %d bytes, %v", list, want, err)
	}
}
