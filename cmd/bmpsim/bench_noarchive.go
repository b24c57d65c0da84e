package main

import (
	"context"
	"path/filepath"

	"bmp/engine"
	"bmp/engine/command"
	"bmp/engine/listen"
	"bmp/proto/control"
)

// stationWithoutArchive is the station of bmp in this process, but that it keeps no archive, which bmp always does: so that
// bench can tell what the archive takes. args are the address for routers and a folder.
func stationWithoutArchive(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return usagef("bench-station is of bench")
	}
	engine.SpareProcessors()
	spec, err := listen.ParsePlace(args[0])
	if err != nil {
		return err
	}
	name := control.DefaultName(spec.Port)
	claim, err := engine.ClaimStation(args[1], name, spec.Port)
	if err != nil {
		return err
	}
	s, err := engine.New(engine.Options{
		Name: name, Port: spec.Port, Version: "bench", StateDir: filepath.Join(args[1], "state"), Listen: []listen.Spec{spec},
		Claim: claim, NoLoopback: true,
		Commands: func(s *engine.Station) control.Handler { return command.New(s, command.Options{Version: "bench"}) },
	})
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		claim.Release()
		return err
	}
	_, err = s.Run(ctx)
	return err
}
