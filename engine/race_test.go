//go:build race

package engine

// The race detector makes a stream of a million routes take a minute.
func init() { raceDetector = true }
