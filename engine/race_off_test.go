//go:build !race

package engine

const raceDetector = false // see race_on_test.go
