package shell

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bmp/proto/control"
	"bmp/proto/grammar"
	"bmp/shell/cluster"
)

// findCluster is the station that a nats:// target names, or where it names the cluster alone, the first that answers,
// with the others.
func findCluster(target string, t control.Target) (Station, error) {
	place, err := cluster.ParsePlace(t.Address)
	if err != nil {
		return Station{}, asInvalid(err)
	}
	if place.Station != "" {
		return Station{Target: t, Name: place.Station}, nil
	}
	shown := cluster.Redacted(target)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	found, err := cluster.List(ctx, place)
	if err != nil {
		return Station{}, errorf(codeNoStation, "No connection to %s: %s", shown, reason(err))
	}
	var up, away []Station
	var twice []string
	for i, f := range found {
		s := Station{Target: t, Name: f.Station, away: f.Away}
		s.Target.Address = strings.TrimSuffix(t.Address, "/") + "/" + f.Station
		switch {
		case i > 0 && f.Station == found[i-1].Station:
			twice = append(twice, f.Station)
		case f.Away:
			away = append(away, s)
		default:
			up = append(up, s)
		}
	}
	switch {
	case len(up) == 0 && len(away) == 0:
		return Station{}, errorf(codeNoStation, "No BMP stations at %s", shown)
	case len(up) == 0:
		var names []string
		for _, s := range away {
			names = append(names, s.Name)
		}
		return Station{}, errorf(codeNoStation, "No station answers at %s (away: %s)", shown, strings.Join(names, ", "))
	}
	first := up[0]
	first.Others = append(up[1:], away...)
	if len(twice) > 0 {
		first.warning = fmt.Sprintf("Several stations are named %s: one of them answers", strings.Join(twice, ", "))
	}
	return first, nil
}

// dialCluster opens a console through a cluster.
func (s Station) dialCluster(ctx context.Context, o control.ClientOptions) (*control.Client, error) {
	place, err := cluster.ParsePlace(s.Target.Address)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := cluster.Dial(bounded, place)
	switch {
	case errors.Is(err, cluster.ErrNoStation):
		return nil, errorf(codeNoStation, "Station %s does not answer at nats://%s", s.Name, cluster.Redacted(strings.TrimSuffix(s.Target.Address, "/"+s.Name)))
	case err != nil:
		return nil, err
	}
	return control.NewClient(bounded, conn, o)
}

// errSeveralInCluster is the answer to a question that only one station can be asked.
func errSeveralInCluster(s Station) error {
	var b strings.Builder
	address := cluster.Redacted(s.Target.Address)
	b.WriteString("Multiple stations - specify one: -t nats://" + strings.TrimSuffix(address, "/"+s.Name) + "/STATION\n")
	for _, x := range append([]Station{s}, s.Others...) {
		b.WriteString("\n* " + x.Name)
		if x.away {
			b.WriteString(" (away)")
		}
	}
	return &control.Error{Code: control.CodeAmbiguous, Text: b.String()}
}

// clusterPatience is how long completion looks for stations.
const clusterPatience = 1500 * time.Millisecond

// ClusterValues are the targets that one that begins with nats:// may become.
func ClusterValues(ctx context.Context, partial string) []grammar.Candidate {
	hosts, ok := strings.CutPrefix(partial, "nats://")
	hosts, _, named := strings.Cut(hosts, "/")
	if !ok || !named {
		return nil
	}
	place, err := cluster.ParsePlace(hosts)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	found, err := cluster.List(ctx, place)
	if err != nil {
		return nil
	}
	var list []grammar.Candidate
	for _, f := range found {
		help := fmt.Sprintf("port %d on %s", f.Port, f.Host)
		if f.Away {
			help = "away"
		}
		list = append(list, grammar.Candidate{Text: "nats://" + hosts + "/" + f.Station, Help: help})
	}
	return list
}
