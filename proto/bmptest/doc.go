// Package bmptest builds BMP sessions and BGP messages as bytes: for tests, and for the parts of the simulator that are not hot.
//
// A session is written message by message and then read by whatever is tested:
//
//	p := bmptest.NewPeer("192.0.2.1", 65001)
//	s := new(bmptest.Session).Initiation("edge1", "a router")
//	s.PeerUp(p)
//	s.Monitor(p, bmp.AdjInPre, bmptest.Update{ASPath: []uint32{65001}, Announce: bmptest.Prefixes("203.0.113.0/24")}.Bytes())
//	s.EndOfRIB(p, bmp.AdjInPre, bmptest.IPv4Unicast)
//	station.Read(s.Bytes())
//
// It imports package bmp, whose types it fills in, but not package bgp, whose tests it serves: here BGP is written by
// hand, from the RFCs. What cannot be written is a mistake of the test that asks for it, and panics.
package bmptest
