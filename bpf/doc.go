// Package bpf is the kernel side of Sallyport and the Go that loads it. Nothing
// else of ours knows a map, a program or the layout of a record.
package bpf
