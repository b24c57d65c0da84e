package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"bmp/cmd/internal/quantity"
	"bmp/cmd/internal/sim"
	"bmp/proto/control"
)

// oneRouter is one router with ten peers: ingest, memory, questions with and without routes coming in, churn, a peer down.
func (b *bench) oneRouter() error {
	z := b.sizes
	// Prefixes of all, so that the small and the large load differ in nothing but their number.
	options := func(routes int) sim.Options { return sim.Options{Seed: 1, Peers: 10, Routes: routes} }
	idle := b.idleLoop()
	for _, kind := range []stationKind{withArchive, withoutArchive} {
		var perM, slopes, took, garbage []float64
		for range z.runs {
			small, err := b.ingest(kind, options(z.small))
			if err != nil {
				return err
			}
			large, err := b.ingest(kind, options(z.large))
			if err != nil {
				return err
			}
			perM = append(perM, large.cpu.Seconds()*1e6/float64(10*z.large))
			slopes = append(slopes, (large.cpu-small.cpu).Seconds()*1e6/float64(10*(z.large-z.small)))
			took = append(took, float64(10*z.large)/1e6/large.wall.Seconds())
			garbage = append(garbage, 100*large.garbage.Seconds()/max(0.01, large.cpu.Seconds()))
		}
		b.row(fmt.Sprintf("ingest, 1 router x 10 peers, %s to %s routes each, %s", count1000(z.small), count1000(z.large), kind), kind.goal("0.30", "0.50"),
			fmt.Sprintf("%.3f CPU-s/M (median of %s; whole load %.3f; %.2fM routes/s with what sends them)", median(slopes), floats(slopes, "%.3f"), median(perM), median(took)))
		b.row("garbage collection during the larger load, "+kind.String(), "<= 0.5 % of CPU", fmt.Sprintf("%.2f %% (median of %s)", median(garbage), floats(garbage, "%.2f")))
	}

	s, err := b.start()
	if err != nil {
		return err
	}
	err = b.questions(s, options(z.large), idle)
	return errors.Join(err, s.stop(b))
}

// took is what a load took: processor time, of it that of garbage collection, and time.
type took struct{ cpu, garbage, wall time.Duration }

// ingest loads a fresh station.
func (b *bench) ingest(kind stationKind, o sim.Options) (t took, err error) {
	s, err := b.startKind(kind)
	if err != nil {
		return took{}, err
	}
	cpu, garbage, began := s.cpu(), s.collections().cpu, time.Now()
	l, err := b.dump(s, o)
	if err == nil {
		_, err = s.settled(b.ctx, l)
		t = took{s.cpu() - cpu, s.collections().cpu - garbage, time.Since(began)}
		l.close()
	}
	return t, errors.Join(err, s.stop(b))
}

// latency is only the questions while routes come in.
func (b *bench) latency() error {
	for _, kind := range []stationKind{withArchive, withoutArchive} {
		if err := b.latencyOf(kind); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) latencyOf(kind stationKind) error {
	s, err := b.startKind(kind)
	if err != nil {
		return err
	}
	o := sim.Options{Seed: 1, Peers: 10, Routes: b.sizes.large, Changes: -1}
	l, err := b.dump(s, o)
	if err == nil {
		defer l.close()
		var list []example
		if list, err = examples(o, 500); err == nil {
			_, err = s.settled(b.ctx, l)
		}
		if err == nil {
			fmt.Fprintf(b.out, "%s:\n", kind)
			err = b.underLoad(s, l, list, o)
		}
		g := s.collections()
		b.row("pauses of collections", "p99.9 <= 5 ms", fmt.Sprintf("p50 %s, p99.9 %s, most %s of %d", ms(quantile(g.pauses, 0.5)),
			ms(quantile(g.pauses, 0.999)), ms(quantile(g.pauses, 1)), len(g.pauses)))
	}
	return errors.Join(err, s.stop(b))
}

// questions loads a station and asks it.
func (b *bench) questions(s *benchStation, o sim.Options, idle func() string) error {
	empty := s.rss()
	o.Changes = -1
	l, err := b.dump(s, o)
	if err != nil {
		return err
	}
	defer l.close()
	sum, err := s.settled(b.ctx, l)
	if err != nil {
		return err
	}
	loaded := s.rss()
	b.row("memory, 10 full peers of one router", "<= 22 B/route", fmt.Sprintf("%.1f B/route (%s routes, %d attribute sets, %s resident of which %s empty)",
		float64(loaded-empty)/float64(sum.Routes), million(sum.Routes), sum.AttributeSets, quantity.Bytes(loaded), quantity.Bytes(empty)))

	list, err := examples(o, 500)
	if err != nil || len(list) == 0 {
		return errors.Join(err, errors.New("no routes to ask for"))
	}
	for _, q := range []struct{ name, line string }{
		{"next hop", fmt.Sprintf("show bgp next-hop %v", list[len(list)/2].nextHop)},
		{"AS path", fmt.Sprintf("show bgp as-path _%d$", list[len(list)/2].origin)},
		{"community", fmt.Sprintf("show bgp community %s", firstCommunity(list))},
	} {
		text, err := b.timedQuery(s, q.line)
		if err != nil {
			return fmt.Errorf("%s: %w", q.line, err)
		}
		b.row(fmt.Sprintf("%s over %s routes", q.name, million(sum.Routes)), "<= 0.5 CPU-s per 100M", text)
	}
	late, err := b.cancelled(s)
	if err != nil {
		return err
	}
	b.row("cancel of 'show bgp all' over the same", "<= 50 ms", ms(late)+" until the verdict")

	if err := b.underLoad(s, l, list, o); err != nil {
		return err
	}
	if err := b.churned(s, l); err != nil {
		return err
	}
	if err := b.onePeerDown(s, l, list); err != nil {
		return err
	}
	pauses := slices.Concat(b.gc.pauses, s.collections().pauses)
	b.row("pauses of collections in all of the above", "p99.9 <= 5 ms", fmt.Sprintf("p50 %s, p99.9 %s, most %s of %d; %s", ms(quantile(pauses, 0.5)),
		ms(quantile(pauses, 0.999)), ms(quantile(pauses, 1)), len(pauses), idle()))
	return nil
}

func firstCommunity(list []example) string {
	for _, e := range list[len(list)/2:] {
		if e.community != "" {
			return e.community
		}
	}
	return "64500:1"
}

// timedQuery asks, and tells what it took.
func (b *bench) timedQuery(s *benchStation, line string) (string, error) {
	var first time.Duration
	rows := 0
	before, began := threadCPU(s.pid()), time.Now()
	v, err := s.console.Do(b.ctx, line, func(l control.Line) error {
		if l.Code == control.CodeRow {
			if rows++; rows == 1 {
				first = time.Since(began)
			}
		}
		return nil
	})
	if err == nil {
		err = v.Err()
	}
	return fmt.Sprintf("%.3f CPU-s, first row after %s, %d rows in %s", (threadCPU(s.pid()) - before).Seconds(), ms(first), rows, ms(time.Since(began))), err
}

// cancelled is how long a question goes on after it was cancelled.
func (b *bench) cancelled(s *benchStation) (time.Duration, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var at time.Time
	_, err := s.console.Do(ctx, "show bgp all", func(l control.Line) error {
		if at.IsZero() && l.Code == control.CodeRow {
			at = time.Now()
			cancel()
		}
		return nil
	})
	if err == nil && at.IsZero() {
		err = errors.New("show bgp all had no rows")
	}
	return time.Since(at), err
}

// underLoad asks for one prefix after the other while a million routes a second come in.
func (b *bench) underLoad(s *benchStation, l *load, list []example, o sim.Options) error {
	const wanted = 1e6
	before := l.fleet.Report()
	cpu, began := s.cpu(), time.Now()
	ctx, cancel := context.WithTimeout(b.ctx, b.sizes.probe)
	defer cancel()
	l.gate.set(wanted)
	var lag time.Duration
	var lagErr error
	var watching sync.WaitGroup
	watcher, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer watcher.Close()
	other := &benchStation{console: watcher}
	watching.Go(func() {
		for ctx.Err() == nil {
			d, err := other.readLag(ctx)
			if err != nil {
				if ctx.Err() == nil {
					lagErr = err
				}
				return
			}
			lag = max(lag, d)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	// Beside it a question that needs no routes, on the same console, and a loop that only sleeps: what they wait for is not
	// the routes' doing.
	idle := b.idleLoop()
	var took, empty []time.Duration
	for i := 0; ctx.Err() == nil; i++ {
		line, times := "show bgp "+list[i/2%len(list)].prefix.String(), &took
		if i%2 == 1 {
			line, times = "show debug", &empty
		}
		at := time.Now()
		if _, err := ask(ctx, s.console, line); err != nil {
			if ctx.Err() == nil {
				return err
			}
			break
		}
		*times = append(*times, time.Since(at))
		time.Sleep(2 * time.Millisecond) // somebody who asks, not a load of its own
	}
	late := idle()
	watching.Wait()
	after, wall := l.fleet.Report(), time.Since(began)
	used := s.cpu() - cpu
	l.gate.shut(len(l.conns))
	if lagErr != nil {
		return lagErr
	}
	if _, err := s.settled(b.ctx, l); err != nil {
		return err
	}
	n := after.Announced + after.Withdrawn - before.Announced - before.Withdrawn
	n99 := quantile(took, 0.99)
	b.row("'show bgp PREFIX' over the socket, routes coming in", "p99 <= 10 ms at 1M/s", fmt.Sprintf("p50 %s, p99 %s of %d, at %.2fM routes/s (%.0f %% of a core); 'show debug' p50 %s, p99 %s; %s",
		ms(quantile(took, 0.5)), ms(n99), len(took), float64(n)/1e6/wall.Seconds(), 100*used.Seconds()/wall.Seconds(),
		ms(quantile(empty, 0.5)), ms(quantile(empty, 0.99)), late))
	b.row("read lag meanwhile", "shown, bounded", "at most "+ms(lag))
	return nil
}

// churned lets the routers change as much as the station takes.
func (b *bench) churned(s *benchStation, l *load) error {
	before := l.fleet.Report()
	rss, cpu, began := s.rss(), s.cpu(), time.Now()
	l.gate.set(-1)
	select {
	case <-time.After(b.sizes.churn):
	case <-b.ctx.Done():
	}
	l.gate.shut(len(l.conns))
	if _, err := s.settled(b.ctx, l); err != nil {
		return err
	}
	after, used, wall := l.fleet.Report(), s.cpu()-cpu, time.Since(began)
	n := after.Announced + after.Withdrawn - before.Announced - before.Withdrawn
	b.row("churn, 10 peers interleaved, 30 % of it withdrawals", ">= 4M changes/CPU-s", fmt.Sprintf("%.2fM changes per CPU second (%s in %.1f s); resident %.2f x before",
		float64(n)/1e6/used.Seconds(), million(n), wall.Seconds(), float64(s.rss())/float64(rss)))
	return nil
}

// onePeerDown takes a peer down that a router of its own has, and looks what that is to others.
func (b *bench) onePeerDown(s *benchStation, others *load, list []example) error {
	n := b.sizes.down
	l, err := b.dump(s, sim.Options{Seed: 1, Routes: n, Prefixes: max(n, b.sizes.large), Name: "down%d"})
	if err != nil {
		return err
	}
	defer l.close()
	full, err := s.settled(b.ctx, others, l)
	if err != nil {
		return err
	}
	asked, err := s.dial(b.ctx)
	if err != nil {
		return err
	}
	defer asked.Close()
	// Somebody asks for a prefix all the time: before it, while it happens, and after.
	var mu sync.Mutex
	var times []time.Time
	var took []time.Duration
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var asking sync.WaitGroup
	asking.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			at := time.Now()
			if _, err := ask(ctx, asked, "show bgp "+list[i%len(list)].prefix.String()); err != nil {
				return
			}
			mu.Lock()
			times, took = append(times, at), append(took, time.Since(at))
			mu.Unlock()
			time.Sleep(500 * time.Microsecond)
		}
	})
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	pause(300 * time.Millisecond)
	down, err := peerDown(l.fleet.Router(0), 0)
	if err != nil {
		return err
	}
	at := time.Now()
	if _, err := l.conns[0].Write(down); err != nil {
		return err
	}
	sum, err := s.until(b.ctx, func(x stationSummary) bool { return x.Routes <= full.Routes-int64(n) })
	if err != nil {
		return err
	}
	gone := time.Since(at)
	pause(300 * time.Millisecond)
	cancel()
	asking.Wait()
	// What it takes to ask is not the peer's: the processor time of a second peer of the same size, with nobody asking.
	cpu, err := b.quietDown(s)
	if err != nil {
		return err
	}
	var quiet, then []time.Duration
	for i, t := range times {
		if t.Before(at) {
			quiet = append(quiet, took[i])
		} else {
			then = append(then, took[i])
		}
	}
	b.row(fmt.Sprintf("peer down, %s routes", count1000(n)), "<= 5 ms, others <= 5 ms", fmt.Sprintf("%s CPU; gone for others after %s (with the question); a prefix asked for: most %s before, %s from then on; %s routes left",
		ms(cpu), ms(gone), ms(quantile(quiet, 1)), ms(quantile(then, 1)), million(sum.Routes)))
	return nil
}

// quietDown is the processor time of a peer down alone, until 20 ms after it.
func (b *bench) quietDown(s *benchStation) (time.Duration, error) {
	n := b.sizes.down
	before, err := s.summary(b.ctx)
	if err != nil {
		return 0, err
	}
	l, err := b.dump(s, sim.Options{Seed: 1, Routes: n, Prefixes: max(n, b.sizes.large), Name: "quiet%d"})
	if err != nil {
		return 0, err
	}
	defer l.close()
	if _, err := s.until(b.ctx, func(x stationSummary) bool { return x.Routes >= before.Routes+int64(n) }); err != nil {
		return 0, err
	}
	if _, err := s.settled(b.ctx); err != nil { // its End-of-RIB, too
		return 0, err
	}
	down, err := peerDown(l.fleet.Router(0), 0)
	if err != nil {
		return 0, err
	}
	time.Sleep(50 * time.Millisecond)
	idle := threadCPU(s.pid())
	time.Sleep(20 * time.Millisecond)
	idle = threadCPU(s.pid()) - idle
	cpu := threadCPU(s.pid())
	if _, err := l.conns[0].Write(down); err != nil {
		return 0, err
	}
	time.Sleep(20 * time.Millisecond)
	return max(0, threadCPU(s.pid())-cpu-idle), nil
}

// manyRouters is a hundred routers with ten peers each, over a table as large as the Internet's.
func (b *bench) manyRouters() error {
	z := b.sizes
	for _, kind := range []stationKind{withArchive, withoutArchive} {
		var per, bytes []float64
		for range z.runs {
			s, err := b.startKind(kind)
			if err != nil {
				return err
			}
			empty, cpu := s.rss(), s.cpu()
			l, err := b.dump(s, sim.Options{Seed: 2, Routers: z.manyRouters, Peers: 10, Routes: z.many, Prefixes: 1_000_000})
			if err == nil {
				var sum stationSummary
				sum, err = s.settled(b.ctx, l)
				per = append(per, (s.cpu()-cpu).Seconds()*1e6/float64(max(1, sum.Routes)))
				bytes = append(bytes, float64(s.rss()-empty)/float64(max(1, sum.Routes)))
				l.close()
			}
			if err = errors.Join(err, s.stop(b)); err != nil {
				return err
			}
		}
		b.row(fmt.Sprintf("ingest, %d routers x 10 peers x %s of 1M, %s", z.manyRouters, count1000(z.many), kind), kind.goal("0.35", ""),
			fmt.Sprintf("%.3f CPU-s/M (median of %s), %.1f B/route with the routers", median(per), floats(per, "%.3f"), median(bytes)))
	}
	return nil
}

// idleRouters connects many routers that have little to say, within a time.
func (b *bench) idleRouters() error {
	n := b.sizes.idleRouters
	if have := raiseFiles(uint64(n) + 200); have < uint64(n)+200 {
		b.row(fmt.Sprintf("%d routers connected", n), "all served", fmt.Sprintf("open files are limited to %d (ulimit -n): %d routers instead", have, have-200))
		n = int(have) - 200
	}
	s, err := b.start()
	if err != nil {
		return err
	}
	empty, cpu := s.rss(), s.cpu()
	fleet, err := sim.New(sim.Options{Seed: 3, Routers: n, Routes: 10, Prefixes: 100_000, Hold: true, Within: b.sizes.idleWithin})
	if err != nil {
		return errors.Join(err, s.stop(b))
	}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- fleet.Run(ctx, s.addr) }()
	sum, err := s.until(ctx, func(x stationSummary) bool {
		return x.Clients >= n && x.Peers >= n && x.Routes >= int64(10*n) || fleet.Report().Sessions > n
	})
	took, used := time.Since(began), s.cpu()-cpu
	each := float64(s.rss()-empty) / 1024 / float64(n)
	rep := fleet.Report()
	cancel()
	<-ended
	if err = errors.Join(err, s.stop(b)); err != nil {
		return err
	}
	if sum.Clients < n || rep.Connected < n {
		b.failed++
	}
	b.row(fmt.Sprintf("%d routers, one peer and 10 routes each, within %v", n, b.sizes.idleWithin), "all served, <= 30 KiB each",
		fmt.Sprintf("%d served, %d lost, all there after %.1f s; %.1f KiB and %.2f CPU-ms each", sum.Clients, n-sum.Clients, took.Seconds(), each, used.Seconds()*1000/float64(n)))
	return nil
}

// memoryLimit fills a station that may have little.
func (b *bench) memoryLimit() error {
	z := b.sizes
	s, err := b.start("-m", fmt.Sprintf("%dMB", z.memory>>20))
	if err != nil {
		return err
	}
	served, sent := 0, int64(0)
	var loads []*load
	for i := range z.hogs {
		l, err := b.dump(s, sim.Options{Seed: uint64(10 + i), Peers: z.hogPeers, Routes: z.hogRoutes, PerSet: 1, Name: fmt.Sprintf("hog%d-%%d", i)})
		if b.ctx.Err() != nil {
			break
		}
		if err != nil {
			continue // refused, or closed
		}
		loads, served = append(loads, l), served+1
		sent += l.fleet.Report().Announced
		// As the station's own look at its memory is once a second.
		select {
		case <-time.After(200 * time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	sum, err := s.summary(b.ctx)
	_, most, _ := processMemory(s.pid())
	refused, closed := len(s.lines("new clients are refused")), len(s.lines("which grew most"))
	for _, l := range loads {
		l.close()
	}
	if err = errors.Join(err, s.stop(b)); err != nil {
		return err
	}
	if most > z.memory*5/4 || refused == 0 {
		b.failed++
	}
	b.row(fmt.Sprintf("-m %dMB, %d routers with %s routes of as many sets", z.memory>>20, z.hogs, count1000(z.hogPeers*z.hogRoutes)), "refuses, never killed",
		fmt.Sprintf("alive, at most %s; %d routers sent all; said %s; closed %d; %s routes held", quantity.Bytes(most), served, quantity.Of(refused, "refusal"), closed, million(sum.Routes)))
	return nil
}

// idleLoop starts a process that only sleeps; what is returned waits for its end and says how late it woke.
func (b *bench) idleLoop() func() string {
	cmd := exec.CommandContext(b.ctx, b.self, "bench-idle-loop")
	var out strings.Builder
	cmd.Stdout = &out
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	return func() string {
		if err == nil {
			in.Close()
			err = cmd.Wait()
		}
		var n, p50, p99, p999, most int64
		if _, serr := fmt.Sscan(out.String(), &n, &p50, &p99, &p999, &most); err != nil || serr != nil {
			return "the idle loop did not run"
		}
		return fmt.Sprintf("an idle loop wakes late by p50 %s, p99 %s, p99.9 %s, most %s", ms(time.Duration(p50)), ms(time.Duration(p99)), ms(time.Duration(p999)), ms(time.Duration(most)))
	}
}

// pmbmpd is the same load for the collector of pmacct, where it is installed.
func (b *bench) pmbmpd() error {
	path, err := exec.LookPath("pmbmpd")
	if err != nil {
		b.row("pmbmpd, the same", "", "not installed here (Debian: pmacct)")
		return nil
	}
	return b.runPmbmpd(path)
}
