package gateway

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// rules are the automations at work. They see a sample before it goes to the disk and an input
// before anybody else, and switch there and then: neither the cloud nor the disk is waited for.
type rules struct {
	all     []*rule
	byInput map[string][]*rule
	byTopic map[string][]*rule // of samples
}

// rule is one automation. What it wants it sets once, when its condition changes: who switches the
// output otherwise is left alone until the next change, and so are max_on and for. What a refusal
// kept it from doing it tries again. Where the output has gone to its safe state because nothing
// was heard, its pin was lost or the configuration changed, it is set again by the next sample
// that says the same; samples also renew its lease, so that it falls back to safe when the mote is
// silent.
type rule struct {
	config.Automation
	bank *gpio.Bank
	log  *slog.Logger
	tell func(*rule, result)

	mu        sync.Mutex
	lease     time.Duration // of what it sets, the shortest
	members   int           // outputs that it sets
	holds     *bool         // the condition; nil: not known
	want      *bool         // what the output is to be; nil: anything
	done      bool          // want was carried out
	overruled bool          // and then somebody has decided otherwise
	refused   string
	timer     *time.Timer // for, a second try or the lease's renewal
	ended     bool
}

// notByChoice is why an output may be safe although a rule has set it and nobody has decided otherwise.
var notByChoice = []gpio.Cause{gpio.AtStart, gpio.ByLease, gpio.ByLink, gpio.ByRetry, gpio.ByFailure, gpio.ByRelease}

// tryAgain is how long a rule waits after a refusal.
const tryAgain = 5 * time.Second

// newRules puts the automations of cfg to work. One that is among those of before as it is goes on with what it knows.
func newRules(cfg *config.Config, bank *gpio.Bank, log *slog.Logger, tell func(*rule, result), before *rules) *rules {
	rs := &rules{byInput: map[string][]*rule{}, byTopic: map[string][]*rule{}}
	for _, a := range cfg.Automations {
		r := before.find(a)
		if r == nil {
			r = &rule{Automation: a, bank: bank, log: log.With("automation", a.Name), tell: tell}
		}
		r.mu.Lock()
		r.lease, r.members = shortestLease(cfg.Outputs, a.Set), members(cfg.Outputs, a.Set)
		r.mu.Unlock()
		rs.all = append(rs.all, r)
		if w := a.When; w.Input != "" {
			rs.byInput[w.Input] = append(rs.byInput[w.Input], r)
		} else {
			topic := "mote/" + w.Mote + "/" + w.Channel
			rs.byTopic[topic] = append(rs.byTopic[topic], r)
		}
	}
	return rs
}

// find gives the rule of an automation that is described as before; nil: there is none.
func (rs *rules) find(a config.Automation) *rule {
	if rs == nil {
		return nil
	}
	for _, r := range rs.all {
		if reflect.DeepEqual(r.Automation, a) {
			return r
		}
	}
	return nil
}

// shortestLease is that of the outputs that a name stands for, 0 for none.
func shortestLease(outs []gpio.Output, name string) (d time.Duration) {
	for _, o := range outs {
		switch {
		case o.Name == name && len(o.Group) > 0:
			for _, member := range o.Group {
				if l := shortestLease(outs, member); l > 0 && (d == 0 || l < d) {
					d = l
				}
			}
		case o.Name == name:
			return o.Lease
		}
	}
	return d
}

// input shows a level to the rules. One that is not known ends no condition: nobody says that it
// is over.
func (rs *rules) input(r gpio.Reading) {
	if !r.Known {
		return
	}
	for _, rule := range rs.byInput[r.Name] {
		on := r.On == *rule.When.Is
		rule.is(&on)
	}
}

// samples shows records to the rules.
func (rs *rules) samples(recs []spool.Record) {
	if len(rs.byTopic) == 0 {
		return
	}
	for _, rec := range recs {
		if rec.Kind != kindSample || len(rec.Payload) < 4 {
			continue
		}
		for _, r := range rs.byTopic[rec.Topic] {
			r.sample(float64(int32(binary.BigEndian.Uint32(rec.Payload))))
		}
	}
}

// stop ends those that are not among the automations to come. An output that one of them has set, and nobody else since, goes
// to its safe state: nobody would ever set it back.
func (rs *rules) stop(next []config.Automation) {
	for _, r := range rs.all {
		if slices.ContainsFunc(next, func(a config.Automation) bool { return reflect.DeepEqual(a, r.Automation) }) {
			continue
		}
		r.mu.Lock()
		r.ended = true
		r.arm(0, nil)
		r.mu.Unlock()
		if err := r.bank.Release(r.by()); err != nil && !errors.Is(err, gpio.ErrClosed) {
			r.log.Error("what the automation has set is not safe", "set", r.Set, "error", err)
		}
	}
}

// by is the rule's name among those who command outputs.
func (r *rule) by() string { return "automation " + r.Name }

// sample compares a value as it is in the record.
func (r *rule) sample(v float64) {
	w := r.When
	if strings.HasSuffix(w.Channel, "temperature") {
		v /= 100
	}
	yes, no := true, false
	if w.Is != nil {
		on := (v != 0) == *w.Is
		r.is(&on)
		return
	}
	if w.Below {
		v, w.Limit = -v, -w.Limit
	}
	switch {
	case v > w.Limit:
		r.is(&yes)
	case v < w.Limit-w.Hysteresis:
		r.is(&no)
	default: // in between: as before
		r.is(nil)
	}
}

// is takes what has been seen of the condition; nil says no more than that it is still heard of.
func (r *rule) is(holds *bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if holds != nil && (r.holds == nil || *r.holds != *holds) {
		r.holds = holds
		r.arm(0, nil)
		switch {
		case *holds && r.For > 0:
			r.arm(r.For, func() { r.wish(&r.To) })
		case *holds:
			r.wish(&r.To)
		default:
			r.wish(r.Else)
		}
		return
	}
	r.confirm()
}

// wish says what the output is to be from now on.
func (r *rule) wish(want *bool) {
	if r.done && want != nil && *r.want == *want {
		return // the condition has come and gone before its time
	}
	r.want, r.done, r.overruled, r.refused = want, false, false, ""
	r.try()
}

// try carries the wish out. A refusal is told when it is a new one.
func (r *rule) try() {
	if r.want == nil || r.done {
		return
	}
	accepted := time.Now()
	c := gpio.Command{Action: gpio.Off, By: r.by()}
	if *r.want {
		c.Action = gpio.On
	}
	_, err := r.bank.Do(r.Set, c)
	res := result{stage: stageApplied, err: err, accepted: accepted, done: time.Now()}
	switch {
	case err == nil:
		r.done, r.refused = true, ""
		if r.When.Input != "" && r.lease > 0 {
			r.arm(r.lease/3, r.confirm)
		}
	case kind(err) == r.refused:
		r.arm(tryAgain, r.try)
		return
	default:
		res.stage = failedStage(err, r.members)
		r.refused = kind(err)
		r.arm(tryAgain, r.try)
	}
	r.tell(r, res)
}

// confirm is for a condition that is as it was: the lease is renewed, and what went to safe for
// want of news is set again.
func (r *rule) confirm() {
	if r.want == nil || !r.done {
		return
	}
	now := r.bank.Get(r.Set)
	switch {
	case now.Known && now.On == *r.want:
		r.overruled = false
		if err := r.bank.Renew(r.Set); err != nil {
			r.log.Debug("the lease is not renewed", "error", err)
		}
		if r.When.Input != "" && r.lease > 0 {
			r.arm(r.lease/3, r.confirm)
		}
	case now.Cause == gpio.ByCommand:
		r.overruled = true
	case !r.overruled && slices.Contains(notByChoice, now.Cause):
		r.done = false
		r.try()
	}
}

// arm has do called with the lock held after d, instead of what was to be done; nil: nothing.
func (r *rule) arm(d time.Duration, do func()) {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	if do == nil {
		return
	}
	var self *time.Timer
	self = time.AfterFunc(d, func() {
		defer r.bank.CloseOnPanic()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer == self { // else it was stopped too late
			r.timer = nil
			do()
		}
	})
	r.timer = self
}

// automated publishes what a rule has done, as a command's result.
func (g *Gateway) automated(r *rule, res result) {
	r.log.Info("automation", "set", r.Set, "to", onOff(*r.want), "stage", res.stage, "error", res.err)
	g.tray.now("actuator/"+r.Set+"/result", with(with(res.fields(), "automation", r.Name), "state", onOff(*r.want)))
}
