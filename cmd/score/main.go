// Command score measures identification against labelled captures and shows the
// figures beside those of other tools. It is a developer's tool:
// "make score CAPTURES=DIR" runs it.
//
//	score DIR PREDICTIONS.jsonl
//
// DIR holds labels.jsonl and, for each tool to compare with, a file
// predictions.TOOL.jsonl. The README beside the captures describes both formats.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(2)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("score", flag.ContinueOnError)
	mistakes := flags.Int("errors", 20, "how many wrong flows to show")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return fmt.Errorf("usage: score [-errors N] DIR PREDICTIONS.jsonl")
	}
	truth, err := readTruth(filepath.Join(flags.Arg(0), "labels.jsonl"))
	if err != nil {
		return err
	}
	ours, err := scoreFile("sallyport", flags.Arg(1), truth)
	if err != nil {
		return err
	}
	others, err := scoreOthers(flags.Arg(0), truth)
	if err != nil {
		return err
	}
	printTable(out, append([]*score{ours}, others...))
	printMistakes(out, ours, *mistakes)
	return nil
}

func scoreFile(tool, file string, truth *truth) (*score, error) {
	predictions, err := readPredictions(file)
	if err != nil {
		return nil, err
	}
	return measure(tool, truth, predictions), nil
}

// scoreOthers measures each tool whose predictions lie beside the labels.
func scoreOthers(dir string, truth *truth) ([]*score, error) {
	files, err := filepath.Glob(filepath.Join(dir, "predictions.*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list predictions: %w", err)
	}
	var scores []*score
	for _, file := range files {
		tool := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "predictions."), ".jsonl")
		s, err := scoreFile(tool, file, truth)
		if err != nil {
			return nil, err
		}
		scores = append(scores, s)
	}
	return scores, nil
}
