package main

func runStation(inv *invocation, v verdict) int { return 1 }
func demo() int                                { return 1 }
