package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// tolerances is how far the losses of two sides may differ, relative to the loss: before the first update, where both
// compute the same numbers, and after it, where float32's errors have gone through a backward pass.
var tolerances = [verified]float64{2e-4, 2e-3}

// plan is how much is measured of each job.
type plan struct {
	processes, rounds, steps int
	ways                     []way
}

// measure measures a job in several generations of processes, one of each side at a time. In the first all ways of
// running a framework have their turns, in later ones the best of each.
func (p plan) measure(ctx context.Context, h house, j job, losses map[string][]float64) (cases []record.BenchCase,
	met []*peer, err error) {
	cases = j.cases()
	for i := range cases {
		for _, w := range p.ways {
			cases[i].Peers = append(cases[i].Peers, record.BenchPeer{Name: w.name})
		}
	}
	for process := range p.processes {
		peers, err := p.generation(ctx, h, j, losses, cases, process)
		if err != nil {
			return nil, nil, err
		}
		met = append(met, peers...)
	}
	return cases, met, nil
}

// generation starts the processes, lets them take turns, and ends them.
func (p plan) generation(ctx context.Context, h house, j job, losses map[string][]float64, cases []record.BenchCase,
	process int) ([]*peer, error) {
	var peers []*peer
	defer func() {
		for _, peer := range peers {
			peer.Close()
		}
	}()
	for i, w := range p.ways {
		if process > 0 && !isBest(cases, w.name) {
			continue
		}
		fmt.Fprintf(h.log, "%s: process %d of %d: starting %s\n", j, process+1, p.processes, w.name)
		peer, err := h.start(ctx, w, j)
		switch {
		case err == nil:
			peers = append(peers, peer)
			if err := compare(peer, losses); err != nil {
				return nil, err
			}
		case process > 0 || ctx.Err() != nil || w == ours || w.program == "pytorch.py" && !w.compile:
			return nil, err
		default: // the others may be unable to
			for c := range cases {
				cases[c].Peers[i].Missing = strings.TrimPrefix(err.Error(), w.name+": ")
			}
		}
	}
	for round := range p.rounds {
		fmt.Fprintf(h.log, "%s: process %d of %d: round %d of %d\n", j, process+1, p.processes, round+1, p.rounds)
		for i := range peers {
			peer := peers[(i+round+process)%len(peers)] // nobody is always first
			t, err := peer.run(ctx, p.steps)
			if err != nil {
				return nil, err
			}
			peer.last = t
			for c := range cases {
				of := cases[c].Peer(peer.way.name)
				if t.Milliseconds[cases[c].Method] == nil {
					of.Missing = "the method is not written there"
					continue
				}
				one := record.BenchTurn{Process: process, Round: round, Milliseconds: t.Milliseconds[cases[c].Method],
					Share: peer.share(t)}
				if j.Given {
					one.Plain = t.Milliseconds["ce"]
				}
				of.Turns = append(of.Turns, one)
			}
		}
	}
	for _, peer := range peers {
		for c := range cases {
			of := cases[c].Peer(peer.way.name)
			of.CompileSeconds = append(of.CompileSeconds, peer.CompileSeconds[cases[c].Method])
			if len(j.Methods) == 1 {
				of.PeakRSS = append(of.PeakRSS, max(peer.PeakRSS, peer.last.PeakRSS))
				of.StepsRSS = append(of.StepsRSS, peer.last.PeakRSS)
			}
			if peer.way == ours {
				cases[c].Nodes = peer.Nodes[cases[c].Method]
				cases[c].GFLOP = 2e-9 * float64(peer.MultiplyAdds[cases[c].Method])
			}
		}
	}
	return peers, nil
}

// isBest tells whether that way of running a framework was the framework's best in one of the cases.
func isBest(cases []record.BenchCase, name string) bool {
	framework, _, _ := strings.Cut(name, " ")
	return slices.ContainsFunc(cases, func(c record.BenchCase) bool {
		best := c.Best(framework)
		return best != nil && best.Name == name
	})
}

// compare compares the losses of a process with those of this project, by method.
func compare(p *peer, losses map[string][]float64) error {
	for name, got := range p.Losses {
		want := losses[name]
		if len(got) != verified || len(want) != verified {
			return fmt.Errorf("%s: %s: %d losses were verified, not %d", p.way.name, name, len(got), verified)
		}
		for i, tolerance := range tolerances {
			if !(math.Abs(got[i]-want[i]) <= tolerance*math.Abs(want[i])) {
				return fmt.Errorf("%s computes another loss of %s: %g in step %d, this project %g "+
					"(tolerance %g of it): the comparison would not be one", p.way.name, name, got[i], i+1, want[i], tolerance)
			}
		}
	}
	return nil
}
