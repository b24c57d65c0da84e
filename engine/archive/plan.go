package archive

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"bmp/proto/bgp"
)

// errUnseed says that this was so for a table that came from a checkpoint.
var errUnseed = errors.New("read again without checkpoints")

// plan is what a replay reads.
type plan struct {
	blocks     []*info
	parts      []*tablePart // checkpoints it starts from
	incomplete bool
	pruned     bool   // blocks without the wanted keys are left out
	whole      bool   // it begins with the client's first record in its run, or with checkpoints
	all        bool   // there is nothing before it
	recoded    bool   // some of what was read otherwise when it came may be in blocks whose filters do not tell
	cut        uint64 // the block in which the time asked for lies: of blocks before it, everything came before
	begin      int64  // arrival of the oldest record that it goes back to
	setBack    bool   // the clock was set back over the time asked for
	// cuts says of routes from which block on they are to be read: what earlier ones say of them does not matter, and not all of
	// it is read.
	cuts     map[routeName]uint64
	walked   []*info // of a pruned plan all blocks there are, of which only some are read
	sessions int     // how many begin in it
	nextRun  int64   // when the station was started anew, after the run that plan ends with; 0: not before the time asked for
	// lasts says of runs of the station that are over when the client's last record in them came, and after when the run after the
	// one that plan ends with began: a session that has no end was cut off between them.
	lasts   map[int64]int64
	after   int64
	gaps    []Gap
	corrupt []Corrupt // of the lists
}

// maxPlanGaps bounds the gaps that an answer names.
const maxPlanGaps = 1000

// plan finds the blocks that decide about what is wanted at a time; prune leaves out those whose filters say that they do
// not. The order of blocks is that of arrival, whatever their times say: of a time that was passed twice, because the
// clock was set back, the last pass is meant.
func (a *Archive) plan(ctx context.Context, client uint32, want *Want, at time.Time, from int64, prune bool) (p plan, err error) {
	t := at.UnixNano()
	base := t
	if from != 0 && from < base {
		base = from
	}
	var keys []uint64
	var said *mentions // of blocks that are listed
	p.pruned = prune && len(want.Keys) > 0
	if p.pruned {
		said = &mentions{keys: want.Keys, routes: make(map[routeID][]mention)}
	}
	for _, k := range want.Keys {
		keys = append(keys, keyHash(k.Family, k.Key))
	}
	prune = p.pruned || want.noRoutes
	var peers []uint16
	for _, k := range want.Peers {
		peers = append(peers, k.hash())
	}
	// Checkpoints of all peers that are wanted make what is before them unnecessary. A search for a prefix does without,
	// as long as it finds the beginning of the session.
	var parts []*tablePart
	var covered int64
	if !want.noCheckpoint {
		if parts, covered, err = a.checkpoints(ctx, client, want, base); err != nil {
			return p, err
		}
	}
	i, err := a.stream(messageStream).Info(ctx)
	if err != nil {
		return p, wrapIn(ctx, err)
	}
	state := newStreamState(i)
	oldest := i.State.FirstTime // that is kept, of all clients
	if i.State.Msgs == 0 {
		oldest = time.Now()
	}
	gone := int64(-1 << 63) // the newest record of what is no longer kept
	floor := int64(-1 << 63)
	if len(want.Peers) > 0 && len(want.Keys) == 0 && parts != nil {
		p.parts, floor = parts, covered
	}
	var run int64 // of the station that holds what is held at base
	var nextRun int64
	found, back, enough, covers, further := false, false, false, false, want.further
	var walked []*info
	var states, others []uint64 // what changes more than routes, and what is not listed and may be about a key
	var later *info             // the block after
	// What came later is not looked at, but for what follows the time: it says when the station was started anew.
	skip := func(s, before *segment) bool { return p.cut == 0 && s.from > t && before != nil && before.from > t }
	err = a.catalog.backFor(ctx, client, said, skip, func(i *info, listed bool) bool {
		if i.seq < state.first && a.expired(&state, i) {
			if found = run != 0 && i.run != run; !found {
				gone = i.last
			}
			return false
		}
		if g := i.gap; g != nil && i.count == 0 && (run == 0 || i.run == run) {
			// There is nothing to be read in it. So it is not the block before which all came, nor the first of its run.
			if g.From.UnixNano() <= t && len(p.gaps) < maxPlanGaps {
				p.gaps = append(p.gaps, *g)
			}
			if later = i; i.first > t {
				nextRun = i.run
			}
			return true
		}
		if p.cut == 0 && i.first > t {
			nextRun = i.run
			if g := i.gap; g != nil && g.From.UnixNano() <= t {
				p.gaps = append(p.gaps, *g) // it had begun
			}
			return true
		}
		if p.cut == 0 {
			p.cut = i.seq
			nextRun = p.ends(a, i.run, nextRun, t)
		}
		if nextRun != i.run {
			if p.lasts == nil {
				p.lasts = make(map[int64]int64)
			}
			p.lasts[i.run] = i.last
			nextRun = i.run
		}
		p.setBack = p.setBack || i.last > t && i.seq != p.cut
		if i.first <= base || run != 0 {
			if run == 0 {
				run = i.run
			}
			if found = i.run != run || i.last < floor; found {
				covers = i.run == run
				return false
			}
		}
		p.begin = i.first
		if g := i.gap; g != nil && len(p.gaps) < maxPlanGaps {
			p.gaps = append(p.gaps, *g)
		}
		if i.flags&flagSession != 0 {
			p.sessions++
		}
		p.recoded = p.recoded || i.flags&flagRecoded != 0
		back = back || i.flags&flagBack != 0
		take := i.state() || !prune
		other := said != nil && !listed && i.listed && len(i.filter) == 0 && i.routes > 0 // its list is lost
		for n := 0; n < len(keys) && !listed && !other; n++ {
			other = i.filter.has(keys[n])
		}
		take = take || other
		if take && len(peers) > 0 && !i.state() {
			take = slices.ContainsFunc(peers, i.touches)
		}
		if said != nil {
			walked = append(walked, i)
			if later != nil && later.run != i.run {
				states = append(states, later.seq)
			}
			if i.state() {
				states = append(states, i.seq)
			}
			if other {
				others = append(others, i.seq)
			}
		}
		if take && i.count > 0 {
			p.blocks = append(p.blocks, i)
		}
		if later = i; i.flags&flagSession != 0 && i.last+int64(a.o.Grace) <= base {
			enough = true
			found = further == 0
			further--
		}
		return !found
	})
	if found && !covers || gone > covered {
		p.parts = nil // what came between them and the blocks is not read
	}
	if gone > covered {
		parts = nil
	}
	slices.Reverse(p.blocks)
	slices.Reverse(walked)
	slices.Reverse(states)
	slices.Reverse(others)
	unlisted := p.blocks
	if said != nil {
		said.within(walked, want.Peers, states, others)
		p.blocks, p.corrupt = withBlocks(unlisted, walked, said.blocks()), said.corrupt
		p.walked = walked
	}
	slices.Reverse(p.gaps)
	if err == nil && back && floor != -1<<63 {
		// What came before a checkpoint is known by its time, and that is of no use here.
		again := *want
		again.noCheckpoint = true
		return a.plan(ctx, client, &again, at, from, prune)
	}
	// The archive ends before the beginning of a session was found: it began there, or what is older is no longer kept.
	if !enough && !found && p.parts == nil {
		switch {
		case gone != -1<<63, len(p.blocks) > 0 && !p.blocks[0].begins():
			p.parts, p.incomplete = parts, parts == nil
		case len(p.blocks) == 0 || base < p.blocks[0].first:
			// What was before may not even be in the index any more.
			p.parts = parts
			p.incomplete = parts == nil && state.first > 1 && base < oldest.Add(-2*blockTime).UnixNano()
		}
	}
	if said != nil && p.parts == nil && from == 0 {
		var deciding []uint64
		deciding, p.cuts = said.deciding(want.Keys, p.cut, states, others)
		p.blocks = withBlocks(unlisted, walked, deciding)
	}
	p.whole = p.parts != nil || later != nil && later.begins()
	p.all = !found
	if p.parts != nil {
		p.beginsWith(a, covered, nextRun, t)
	}
	return p, err
}

// beginsWith notes what checkpoints of a time tell beside the tables. The station may have been started anew since, before what is
// read, or with nothing to be read; next is as ends takes it.
func (p *plan) beginsWith(a *Archive, covered, next, t int64) {
	if p.begin == 0 || p.begin > covered {
		p.begin = covered
	}
	run := int64(0)
	for _, x := range p.parts {
		run = max(run, x.run)
	}
	if p.lasts == nil {
		p.lasts = make(map[int64]int64)
	}
	if _, ok := p.lasts[run]; !ok {
		p.lasts[run] = covered
	}
	if p.cut == 0 {
		p.ends(a, run, next, t)
	}
}

// ends notes when the run that the plan ends with was over, if it is: next is the run that followed, as far as blocks tell, 0 for
// none, and what is returned the one that did.
func (p *plan) ends(a *Archive, run, next, t int64) int64 {
	if next == 0 {
		next = a.run
	}
	if next != run {
		next = a.runAfter(run, next) // perhaps one in which the client did not come
		p.after = next
		if next <= t {
			p.nextRun = next
		}
	}
	return next
}

// leftOut says that between two blocks one is not read that has something of a peer.
func (p *plan) leftOut(peer uint16, from, to uint64) bool {
	bySeq := func(i *info, seq uint64) int { return cmp.Compare(i.seq, seq) }
	n, _ := slices.BinarySearchFunc(p.walked, from, bySeq)
	for ; n < len(p.walked) && p.walked[n].seq < to; n++ {
		if _, read := slices.BinarySearchFunc(p.blocks, p.walked[n].seq, bySeq); !read && p.walked[n].touches(peer) {
			return true
		}
	}
	return false
}

// begins says that a block is the first of its client in its run, so that nothing is missing before it.
func (i *info) begins() bool { return i.number == 1 }

func (a *Archive) replay(ctx context.Context, client uint32, want Want, at time.Time, hist *history) (*replayer, Walked, error) {
	if err := a.SyncTo(ctx, client, at); err != nil {
		return nil, Walked{}, err
	}
	from := int64(0)
	if hist != nil {
		from = hist.from
	}
	waited := a.Client(client).waitingGaps()
	p, err := a.plan(ctx, client, &want, at, from, !want.noPrune)
	if err == nil && p.recoded && p.pruned {
		// What was read otherwise when it came may be about the prefix though its block's filter does not know.
		p, err = a.plan(ctx, client, &want, at, from, false)
	}
	if err != nil {
		return nil, Walked{}, err
	}
	p.gaps = withWaiting(p.gaps, waited, func(g *Gap) bool { return !g.From.After(at) })
	if hist == nil && p.nextRun != 0 { // what was lost before does not matter to what the station holds since
		p.gaps = slices.DeleteFunc(p.gaps, func(g Gap) bool { return g.To.UnixNano() < p.nextRun })
	}
	// One session of which everything is read leaves nothing to find out before it is told.
	final := !p.recoded && !p.pruned && p.sessions <= 1
	var saved []*table
	for _, part := range p.parts {
		t, err := a.readPart(ctx, part)
		if errors.Is(err, jetstream.ErrMsgNotFound) && !want.noCheckpoint {
			want.noCheckpoint = true // it is no longer kept, the blocks may be
			return a.replay(ctx, client, want, at, hist)
		}
		if err != nil {
			return nil, Walked{}, err
		}
		saved = append(saved, t)
	}
	overrides := make(map[formKey]override)
	for pass := range maxPasses + 1 {
		r := &replayer{
			a: a, want: &want, at: at.UnixNano(), grace: int64(a.o.Grace), staleFor: int64(want.StaleFor), peers: make(map[PeerKey]*replayPeer), after: make(map[int64]int64), overrides: overrides, gone: make(map[PeerKey]HeldPeer),
			plan: &p, whole: p.whole, settled: pass >= maxPasses-1,
		}
		if p.pruned {
			r.needles = needlesOf(want.Keys)
		}
		for _, k := range want.Keys {
			if r.keys == nil {
				r.keys = make(map[bgp.Family]map[string]bool)
			}
			if r.keys[k.Family] == nil {
				r.keys[k.Family] = make(map[string]bool)
			}
			r.keys[k.Family][string(k.Key)] = true
		}
		if len(want.Peers) > 0 {
			r.only = make(map[PeerKey]bool)
			for _, k := range want.Peers {
				r.only[k] = true
			}
		}
		if hist != nil {
			c := *hist
			c.final = final
			r.history = &c
		}
		for _, t := range saved {
			r.seed(t)
		}
		done := uint64(0)
		last := uint64(0)
		w, err := a.fetch(ctx, client, p.blocks, func(rec *record, i *info) error {
			if i.seq != last {
				last = i.seq
				if done++; want.Progress != nil && done%64 == 0 {
					want.Progress(done, uint64(len(p.blocks)))
				}
				if done%16 == 0 && ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return r.apply(rec, i)
		})
		for _, c := range p.corrupt {
			w.corrupt(c)
		}
		if err == errUnseed {
			want.noCheckpoint = true
			return a.replay(ctx, client, want, at, hist)
		}
		if err == nil && !r.final() && (r.undecided || r.unclear && (p.pruned || !p.all && !p.whole)) {
			if want.noPrune = true; !p.pruned {
				want.further = 2*want.further + 1
			}
			return a.replay(ctx, client, want, at, hist)
		}
		if err == nil && p.after != 0 && r.run != 0 {
			r.cutOff(p.after)
		}
		if err == nil && p.nextRun != 0 && r.run != 0 {
			r.anew(p.nextRun)
		}
		if err == nil {
			r.advance(at.UnixNano())
		}
		switch {
		case err == nil && r.again:
			continue
		case err == nil && hist != nil && r.history.quiet:
			final = true
			continue
		case err == nil && hist != nil:
			err = r.history.tell()
		}
		return r, w, err
	}
	panic("unreachable: the last pass is settled")
}

// maxPasses is how often messages are read again because tables were found to be coded otherwise, and the last time for what is
// told.
const maxPasses = 10
