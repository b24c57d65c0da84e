package rib

import "syscall"

const canMap = true

func mapRegion(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func unmapRegion(b []byte) error { return syscall.Munmap(b) }

func adviseHuge(b []byte) error { return syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

func releasePages(b []byte) error { return syscall.Madvise(b, syscall.MADV_DONTNEED) }
