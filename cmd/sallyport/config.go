package main

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"sallyport/agent"
)

// defaultConfig is read when --config is not given and the file is there.
const defaultConfig = "/etc/sallyport/agent.yaml"

// configFlag adds --config to a command and gives the place of its value.
func configFlag(cmd *cobra.Command) *string {
	path := new(string)
	cmd.Flags().StringVarP(path, "config", "c", "", "`FILE` of the agent's configuration (default "+defaultConfig+", where that is there)")
	return path
}

// loadConfig reads the configuration that a command was given or finds.
func loadConfig(path string) (agent.Config, error) {
	if path == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			path = defaultConfig
		} else if !errors.Is(err, fs.ErrNotExist) {
			return agent.Config{}, err
		}
	}
	return agent.LoadConfig(path)
}

// newLogger is the one root logger of a command.
func newLogger(cfg agent.Config, out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "sallyport", Level: hclog.LevelFromString(cfg.LogLevel), JSONFormat: cfg.LogJSON, Output: out,
	})
}
