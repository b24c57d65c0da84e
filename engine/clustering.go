package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bmp/engine/cluster"
)

// clusterPatience is how long a station that starts waits for its cluster.
const clusterPatience = 10 * time.Second

// joinCluster connects to the cluster, if the options name one, and claims the station's name there.
func (s *Station) joinCluster(o Options) error {
	if o.Cluster == nil {
		return nil
	}
	co := *o.Cluster
	co.Station = cmp.Or(co.Station, o.Name, "station")
	co.Port, co.Version = o.Port, cmp.Or(o.Version, "0.0.0")
	co.Say = func(text string) { s.say("%s", text) }
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	m, err := cluster.Connect(ctx, co)
	s.cluster = m
	return err
}

// leaveCluster is called when all else is closed.
func (s *Station) leaveCluster() {
	if s.cluster != nil {
		s.cluster.Leave()
	}
}

// stateIDFile is a line of hexadecimal digits in the state folder, made with it. By it an archive in a cluster knows the
// folder that has given its clients their IDs: with another one, numbers would begin anew and mean others.
const stateIDFile = "id"

func stateID(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	path := filepath.Join(dir, stateIDFile)
	text, err := os.ReadFile(path)
	id := strings.TrimSpace(string(text))
	switch {
	case err == nil && len(id) == 32:
		return id, nil
	case err == nil && id != "":
		return "", fmt.Errorf("%s: %.40q is no ID", path, id)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("state folder: %w", err)
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	id = hex.EncodeToString(b[:])
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err == nil {
		_, err = f.WriteString(id + "\n")
		err = errors.Join(err, f.Sync(), f.Close(), os.Rename(path+".new", path))
	}
	if err != nil {
		return "", fmt.Errorf("state folder: %w", err)
	}
	return id, nil
}
