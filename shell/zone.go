package shell

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// zoneName is the IANA name of the local time zone, for `hello tz=`; "" when
// nothing tells it, and then the station's own zone counts.
func zoneName() string {
	name, set := os.LookupEnv("TZ")
	if !set {
		if link, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
			if _, after, ok := strings.Cut(link, "/zoneinfo/"); ok {
				name = after
			}
		}
	}
	name = strings.TrimPrefix(name, ":")
	if set && name == "" {
		name = "UTC" // tzset(3)
	}
	if _, err := time.LoadLocation(name); name == "" || err != nil || strings.ContainsAny(name, " \t") {
		return ""
	}
	return name
}
