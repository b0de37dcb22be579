package sim

import "time"

const (
	epoch = 1025665200              // the UTC second of slot 0, a constant of the firmware
	slot  = 7250 * time.Microsecond // one slot of the network's clock
)

// clock is the network's clock, from slot 0 at boot. UTC follows from the slot number unless setTime shifted it.
type clock struct {
	booted time.Time     // by the host's clock
	since  time.Time     // elapsed was base then
	base   time.Duration // time on the network's clock
	drift  float64       // parts per million it runs too fast
	shift  time.Duration // from setTime
}

func newClock(now time.Time, drift float64) clock {
	return clock{booted: now, since: now, drift: drift}
}

// elapsed is the time since slot 0, by the network's clock.
func (c *clock) elapsed(now time.Time) time.Duration {
	d := now.Sub(c.since)
	return max(0, c.base+d+time.Duration(float64(d)*c.drift/1e6))
}

// uptime is in whole seconds; a jump does not change it.
func (c *clock) uptime(now time.Time) uint32 {
	return uint32(now.Sub(c.booted) / time.Second)
}

// jump sets the clock forward, or back when d is negative, but not before slot 0.
func (c *clock) jump(now time.Time, d time.Duration) {
	c.base, c.since = max(0, c.elapsed(now)+d), now
}

func (c *clock) setDrift(now time.Time, ppm float64) {
	c.base, c.since = c.elapsed(now), now
	c.drift = ppm
}

// asn is the slot number and the microseconds into the slot, 0 to 7249.
func (c *clock) asn(now time.Time) (uint64, uint16) {
	e := c.elapsed(now)
	return uint64(e / slot), uint16(e % slot / time.Microsecond)
}

// appendUTC appends seconds u64 and microseconds u32.
func (c *clock) appendUTC(dst []byte, now time.Time) []byte {
	e := c.elapsed(now) + c.shift
	secs, rest := e/time.Second, e%time.Second
	if rest < 0 {
		secs, rest = secs-1, rest+time.Second
	}
	dst = be.AppendUint64(dst, uint64(max(0, epoch+int64(secs))))
	return be.AppendUint32(dst, uint32(rest/time.Microsecond))
}

// appendTime appends uptime u32, UTC (u64, u32), ASN (5 bytes) and the offset into the slot u16: the fields of getTime
// and of eventNetworkTime.
func (c *clock) appendTime(dst []byte, now time.Time) []byte {
	dst = be.AppendUint32(dst, c.uptime(now))
	dst = c.appendUTC(dst, now)
	asn, offset := c.asn(now)
	dst = append(dst, byte(asn>>32))
	dst = be.AppendUint32(dst, uint32(asn))
	return be.AppendUint16(dst, offset)
}
