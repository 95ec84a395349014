// Package detections holds the Sigma rules that ship with Sallyport. A new
// detection is one .yml file beside this one, nothing else.
package detections

import "embed"

// FS holds the rules, *.yml at its top.
//
//go:embed *.yml
var FS embed.FS
