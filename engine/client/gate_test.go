package client

import (
	"testing"
	"time"
)

// A gate that is shut holds sessions until it opens, or they are closed; a credit that is spent shuts it.
func TestGate(t *testing.T) {
	var g Gate
	x := NewSession(&Env{}, nil, Endpoint{}, time.Now())
	g.pass(x) // open
	g.spend(1 << 30)
	if g.IsShut() {
		t.Fatal("shut without a limit")
	}
	g.Allow(100)
	g.spend(100)
	g.pass(x)
	g.spend(1)
	if !g.IsShut() {
		t.Fatal("open with nothing left")
	}
	passed := make(chan bool)
	go func() { g.pass(x); passed <- true }()
	select {
	case <-passed:
		t.Fatal("passed a gate that is shut")
	default:
	}
	g.Allow(1)
	<-passed
	g.Shut()
	go func() { g.pass(x); passed <- true }()
	close(x.closing)
	<-passed
	g.Open()
	g.spend(1 << 30)
	if g.IsShut() {
		t.Error("shut without a limit")
	}
}
