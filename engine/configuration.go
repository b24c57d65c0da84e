package engine

import (
	"slices"

	"bmp/engine/listen"
)

// OfOptions says whether a listener is one of Options.Listen. Those that are not were opened while the station ran, and
// belong into a written configuration.
func (s *Station) OfOptions(l *listen.Listener) bool {
	return slices.ContainsFunc(s.options.Listen, l.Spec().SamePlace)
}
