// Package rib is the route store: every Adj-RIB-In, Adj-RIB-Out and Loc-RIB that BMP tells of.
package rib
