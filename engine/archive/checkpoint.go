package archive

import (
	"github.com/nats-io/nats.go"
)

// tablePart is a part of a checkpoint.
type tablePart struct {
	seq uint64
}

func parseTablePart(h nats.Header, seq uint64) (*tablePart, error) {
	return &tablePart{seq: seq}, nil
}
