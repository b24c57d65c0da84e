package client

import "strings"

// maxText bounds, in bytes, what is kept of one text of a router. Names and descriptions have at most 255 by what
// RFC 7854, Section 4.4 takes them from; a TLV has room for 65,535, and so have ten thousand peers.
const maxText = 1024

// shortText cuts a text that is too long to be kept; the message ring still has all of it.
func shortText(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
