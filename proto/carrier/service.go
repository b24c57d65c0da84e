package carrier

import "strconv"

// ServiceName is that of the micro service that every station of a cluster is.
const ServiceName = "bmp"

// HereSubject is where a station says who it is.
func HereSubject(station string) string { return "bmp." + station + ".here" }

// RequestSubject is where a station answers one line.
func RequestSubject(station string) string { return "bmp." + station + ".ctl" }

// ConsoleSubject is where a station opens consoles.
func ConsoleSubject(station string) string { return "bmp." + station + ".console" }

// By the streams of its archive a station is known to a cluster also while it does not run.
const (
	// ArchiveSubjects are those of every station's archived messages.
	ArchiveSubjects = "bmp.*.msg.*"
	// ArchiveStation is the key of the station's name in the metadata of its streams.
	ArchiveStation = "bmp-station"
)

// Service is a station as the cluster knows it: the metadata of its micro service.
type Service struct {
	Station  string `json:"station"`
	Instance string `json:"instance"` // of this run
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Port     int    `json:"port"`  // BMP
	Since    string `json:"since"` // RFC 3339
}

// Metadata is the service as a map of text.
func (s Service) Metadata() map[string]string {
	return map[string]string{
		"station": s.Station, "instance": s.Instance, "host": s.Host, "pid": strconv.Itoa(s.PID), "port": strconv.Itoa(s.Port), "since": s.Since,
	}
}

// ServiceOf reads it; what cannot be read is left zero.
func ServiceOf(m map[string]string) Service {
	s := Service{Station: m["station"], Instance: m["instance"], Host: m["host"], Since: m["since"]}
	s.PID, _ = strconv.Atoi(m["pid"])
	s.Port, _ = strconv.Atoi(m["port"])
	return s
}
