package smartmesh

import (
	"context"
	"fmt"
)

// RadiotestTx is a transmit test: a sequence of up to ten packets, sent RepeatCnt times. On the wire are only as many
// pairs of length and delay as SeqSize says.
type RadiotestTx struct {
	TestType  RadiotestType `sm:"testType" doc:"kind of transmission"`
	ChanMask  uint16        `sm:"chanMask" doc:"channel mask, bit 0 = channel 11"`
	RepeatCnt uint16        `sm:"repeatCnt" doc:"how many times to send the sequence"`
	TxPower   int8          `sm:"txPower" doc:"transmit power, dBm"`
	SeqSize   SeqSize       `sm:"seqSize,count" doc:"number of (pkLen, delay) pairs that follow"` // set from Sequence
	Sequence  []TestPacket  `sm:"sequence,flat"`
	StationID uint8         `sm:"stationId" doc:"label separating concurrent tests"`
}

// A TestPacket is one packet of a test's sequence.
type TestPacket struct {
	Len   uint8  `sm:"pkLen" doc:"bytes in packet N of the sequence"`
	Delay uint16 `sm:"delay" doc:"pause after packet N"`
}

// RadiotestRx is a receive test.
type RadiotestRx struct {
	Mask      uint16 `sm:"mask" doc:"channel mask, bit 0 = channel 11"`
	Duration  uint16 `sm:"duration" doc:"test length in seconds"`
	StationID uint8  `sm:"stationId" doc:"label separating concurrent tests"`
}

// RadiotestStatistics are the counters of the last receive test.
type RadiotestStatistics struct {
	RxOK   uint16 `sm:"rxOk" doc:"packets received well"`
	RxFail uint16 `sm:"rxFail" doc:"packets received damaged"`
}

// RadiotestTxPER is the transmitting side of a packet-error-rate test.
type RadiotestTxPER struct {
	TxPower    int8   `sm:"txPower" doc:"transmit power, dBm"`
	NumPackets uint16 `sm:"numPackets" doc:"packets per run"`
	ChanMask   uint16 `sm:"chanMask" doc:"channel mask, bit 0 = channel 11"`
	NumRepeat  uint16 `sm:"numRepeat" doc:"runs"`
}

// XtalComp is a test of the 32 kHz crystal.
type XtalComp struct {
	Bias       uint8  `sm:"bias" doc:"bias setting"`
	SpinDownMs uint16 `sm:"spinDownMs" doc:"spin-down, ms"`
	SpinUpMs   uint16 `sm:"spinUpMs" doc:"spin-up, ms"`
	Iterations uint8  `sm:"iterations" doc:"iterations"`
}

// XtalCompResult is what it measured.
type XtalCompResult struct {
	AvgFreqMeas uint32 `sm:"avgFreqMeas" doc:"mean frequency measured"`
	PPFreqMeas  uint16 `sm:"ppFreqMeas" doc:"peak-to-peak frequency"`
}

// Xtal is a trim measurement of the 20 MHz crystal.
type Xtal struct {
	TrimOpt   uint8 `sm:"trimOpt" doc:"trim option"`
	TempGrade uint8 `sm:"tempGrade" doc:"temperature grade"`
}

// XtalResult is what it measured.
type XtalResult struct {
	PullVal uint8 `sm:"pullVal" doc:"pull value"`
	PPMErr  int32 `sm:"ppmErr" doc:"error, ppm"`
}

var (
	radiotestTx = command[RadiotestTx, none]{35, "radiotestTx",
		"Starts a transmit radio test (manager must have been booted in radiotest mode).", changes | dangerous}
	radiotestRx = command[RadiotestRx, none]{37, "radiotestRx",
		"Starts a receive radio test and clears its counters (radiotest mode only).", changes | dangerous}
	getRadiotestStatistics = command[none, RadiotestStatistics]{38, "getRadiotestStatistics",
		"Reads the counters of the last radiotestRx.", 0}
	radiotestRxPER = command[none, none]{74, "radiotestRxPER",
		"Starts a packet-error-rate receive test (manager 1.4.2 or later); result comes as notifRadiotestStatsPER.", changes | dangerous}
	radiotestTxPER = command[RadiotestTxPER, none]{75, "radiotestTxPER",
		"Starts a packet-error-rate transmit test (manager 1.4.2 or later).", changes | dangerous}
	radiotestXtalComp = command[XtalComp, XtalCompResult]{76, "radiotestXtalComp",
		"32 kHz crystal accuracy test (manager 1.5.0 or later).", changes | dangerous | slow}
	radiotestXtal = command[Xtal, XtalResult]{77, "radiotestXtal",
		"20 MHz crystal trim measurement, up to about 30 s (manager 1.5.0 or later).", changes | dangerous | slow}

	radioCommands = []*spec{radiotestTx.spec(), radiotestRx.spec(), getRadiotestStatistics.spec(), radiotestRxPER.spec(),
		radiotestTxPER.spec(), radiotestXtalComp.spec(), radiotestXtal.spec()}
)

// RadiotestTx starts a transmit test. Radio tests work only after a boot with NetworkConfig.IsRadioTest set.
func (s *Session) RadiotestTx(ctx context.Context, t RadiotestTx) error {
	if len(t.Sequence) > maxList {
		return fmt.Errorf("%w: radiotestTx: a sequence of %d packets, at most %d", ErrArgument, len(t.Sequence), maxList)
	}
	t.SeqSize = SeqSize(len(t.Sequence))
	_, err := call(ctx, s, radiotestTx, t)
	return err
}

// RadiotestRx starts a receive test.
func (s *Session) RadiotestRx(ctx context.Context, t RadiotestRx) error {
	_, err := call(ctx, s, radiotestRx, t)
	return err
}

// GetRadiotestStatistics reads the counters of the last receive test.
func (s *Session) GetRadiotestStatistics(ctx context.Context) (RadiotestStatistics, error) {
	return call(ctx, s, getRadiotestStatistics, none{})
}

// RadiotestRxPER starts the receiving side of a packet-error-rate test; the result arrives as *RadioTestStats.
func (s *Session) RadiotestRxPER(ctx context.Context) error {
	_, err := call(ctx, s, radiotestRxPER, none{})
	return err
}

// RadiotestTxPER starts the transmitting side of a packet-error-rate test.
func (s *Session) RadiotestTxPER(ctx context.Context, t RadiotestTxPER) error {
	_, err := call(ctx, s, radiotestTxPER, t)
	return err
}

// RadiotestXtalComp tests the 32 kHz crystal.
func (s *Session) RadiotestXtalComp(ctx context.Context, t XtalComp) (XtalCompResult, error) {
	return call(ctx, s, radiotestXtalComp, t)
}

// RadiotestXtal measures the 20 MHz crystal, which takes up to half a minute.
func (s *Session) RadiotestXtal(ctx context.Context, t Xtal) (XtalResult, error) {
	return call(ctx, s, radiotestXtal, t)
}
