package command

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bmp/engine"
	"bmp/proto/control"
)

// When shutdown is answered the clients are closed, and nobody finds the station any more.
func TestShutdown(t *testing.T) {
	claim, err := engine.ClaimStation(t.TempDir(), "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	ts := startStation(t, engine.Options{Claim: claim, NoLoopback: true})
	for _, name := range []string{"edge1", "edge2"} {
		ts.router(name).play(ts.Station, "initiation "+name+".ams a router\nup 10.0.0.1 as=65001")
	}
	v, err := ts.console.Do(t.Context(), "shutdown", nil)
	if err != nil || v.Code != control.CodeDone || v.Text != "Stopped: 2 clients closed" {
		t.Fatal(v, err)
	}
	if found, err := control.StationsIn(filepath.Dir(claim.Socket())); err != nil && !errors.Is(err, os.ErrNotExist) || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	for _, c := range ts.Clients() {
		if c.Session() != nil {
			t.Errorf("client %d is connected", c.ID())
		}
	}
	<-ts.console.Done() // the station goes on to its end
}
