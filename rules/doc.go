// Package rules holds the vocabulary that the agent and the collector share
// (observation, finding), the entities and indicators, and the matcher that
// turns an observation into findings. It imports nothing of ours but its own
// folders.
package rules
