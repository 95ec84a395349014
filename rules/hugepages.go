package rules

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page (x86-64, arm64 with 4 KiB pages).
const hugePage = 2 << 20

// makeHuge makes n elements, on huge pages where they fill some and the kernel
// has them to give. A random read of a table on 4 KiB pages waits for the page
// tables as well, and in a virtual machine for two sets of them.
//
// The memory is the garbage collector's like any other: nothing needs to be
// freed, and no reader can be left with memory that is gone. T must hold no
// pointers, since a part of it is skipped to begin at a huge page.
func makeHuge[T any](n int) []T {
	var one T
	size := int(unsafe.Sizeof(one))
	if n*size < hugePage || hugePage%size != 0 {
		return make([]T, n)
	}
	all := make([]T, n+hugePage/size)
	skip := 0
	if over := int(uintptr(unsafe.Pointer(&all[0])) % hugePage); over%size == 0 && over != 0 {
		skip = (hugePage - over) / size
	}
	part := all[skip : skip+n : skip+n]
	advise(part, unix.MADV_HUGEPAGE)
	return part
}

// collapse moves a table that has been filled to huge pages, where it stands on
// memory that had small ones before. Kernels before 6.1 do it in time by
// themselves.
func collapse[T any](table []T) { advise(table, unix.MADV_COLLAPSE) }

// advise tells the kernel of the whole huge pages in the table. What it cannot
// do costs speed alone.
func advise[T any](table []T, advice int) {
	if len(table) == 0 {
		return
	}
	size := len(table) * int(unsafe.Sizeof(table[0])) &^ (hugePage - 1)
	start := unsafe.Pointer(&table[0])
	if size == 0 || uintptr(start)%hugePage != 0 {
		return
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(start), size), advice)
}
