// Package bgp reads BGP messages as BMP carries them. Skeleton; see the functions.
package bgp
