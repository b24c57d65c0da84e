//go:build race

package engine

// raceDetector says whether the test was built with -race, which makes a stream of a million routes take a minute.
const raceDetector = true
