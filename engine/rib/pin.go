package rib

import "sync"

// pins knows which queries run, so that a prefix number that one of them may remember is not given to another prefix.
type pins struct {
	mu     sync.Mutex
	epoch  uint64
	active map[uint64]int // queries running, by the epoch in which they began
}

func (p *pins) pin() (epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active == nil {
		p.active = map[uint64]int{}
	}
	p.active[p.epoch]++
	return p.epoch
}

func (p *pins) unpin(epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active[epoch]--; p.active[epoch] == 0 {
		delete(p.active, epoch)
	}
}

// advance begins a new epoch and returns the one that ended.
func (p *pins) advance() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	return p.epoch - 1
}

// oldest is the epoch of the oldest query that runs, or the present one.
func (p *pins) oldest() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.epoch
	for e := range p.active {
		o = min(o, e)
	}
	return o
}
