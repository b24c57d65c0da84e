//go:build !linux

package rib

import "errors"

const canMap = false

func mapRegion(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapRegion([]byte) error { return errors.ErrUnsupported }

func adviseHuge([]byte) error { return errors.ErrUnsupported }

func releasePages([]byte) error { return errors.ErrUnsupported }
