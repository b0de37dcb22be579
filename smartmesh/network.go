package smartmesh

import "context"

// NetworkConfig is the network's persistent configuration. It is written as a whole: read, change, write back. It takes
// effect when the manager boots, except MaxMotes (at the next join) and BaseBandwidth (for motes that join later).
type NetworkConfig struct {
	NetworkID        uint16            `sm:"networkId" doc:"network id"`
	APTxPower        int8              `sm:"apTxPower" doc:"access point transmit power, dBm"`
	FrameProfile     FrameProfile      `sm:"frameProfile" doc:"slotframe profile"`
	MaxMotes         uint16            `sm:"maxMotes" doc:"upper limit on motes"`
	BaseBandwidth    uint16            `sm:"baseBandwidth" doc:"default bandwidth per mote, milliseconds per packet"`
	DownFrameMultVal uint8             `sm:"downFrameMultVal" doc:"downstream slotframe multiplier"`
	NumParents       uint8             `sm:"numParents" doc:"parents to assign per mote"`
	CCAMode          CCAMode           `sm:"ccaMode" doc:"clear-channel assessment mode"`
	ChannelList      uint16            `sm:"channelList" doc:"channel mask, bit 0 = IEEE 802.15.4 channel 11"`
	AutoStartNetwork bool              `sm:"autoStartNetwork" doc:"form the network at boot"`
	LocMode          uint8             `sm:"locMode" doc:"location mode, reserved (0)"`
	BBMode           BackboneFrameMode `sm:"bbMode" doc:"backbone frame mode"`
	BBSize           uint8             `sm:"bbSize" doc:"backbone frame size"`
	IsRadioTest      uint8             `sm:"isRadioTest" doc:"non-zero: boot into radiotest mode"`
	BWMult           uint16            `sm:"bwMult" doc:"bandwidth over-provisioning multiplier"`
	OneChannel       uint8             `sm:"oneChannel" doc:"single-channel operation; 0xFF = off"`
}

// NetworkInfo are the network's figures. The last three are absent with older managers.
type NetworkInfo struct {
	NumMotes           uint16              `sm:"numMotes" doc:"motes in the operational state"`
	ASNSize            uint16              `sm:"asnSize" doc:"slot length in microseconds (7250 usual)"`
	AdvertisementState AdvertisementState  `sm:"advertisementState" doc:"advertising now"`
	DownFrameState     DownstreamFrameMode `sm:"downFrameState" doc:"downstream slotframe now"`
	NetReliability     uint8               `sm:"netReliability" doc:"percent"`
	NetPathStability   uint8               `sm:"netPathStability" doc:"percent"`
	NetLatency         uint32              `sm:"netLatency" doc:"mean latency, ms"`
	NetState           NetworkState        `sm:"netState" doc:"network state"`
	Address            IPv6                `sm:"ipv6Address" doc:"IPv6 address"`
	NumLostPackets     *uint32             `sm:"numLostPackets,opt" doc:"lost packets"`
	NumArrivedPackets  *uint64             `sm:"numArrivedPackets,opt" doc:"arrived packets"`
	MaxNumbHops        *uint8              `sm:"maxNumbHops,opt" doc:"largest hop count (scale not confirmed; hopDepth is times 10)"`
}

type networkID struct {
	ID uint16 `sm:"id" doc:"new network id"`
}

type advertising struct {
	Activate AdvertisementState `sm:"activate" doc:"advertising switch; 0 = on, 1 = off or slow"`
}

type downstreamFrame struct {
	FrameMode DownstreamFrameMode `sm:"frameMode" doc:"slotframe choice"`
}

// IPConfig is the mesh's IPv6 prefix: the upper 8 bytes of Address count, the lower 8 of Mask are 0.
type IPConfig struct {
	Address IPv6 `sm:"ipv6Address" doc:"IPv6 address"`
	Mask    IPv6 `sm:"mask" doc:"mask; lower 8 bytes 0"`
}

var (
	setNetworkConfig = command[NetworkConfig, none]{26, "setNetworkConfig",
		"Writes the whole persistent network configuration; most of it takes effect at the next manager boot.", changes | dangerous}
	exchangeNetworkID = command[networkID, callback]{34, "exchangeNetworkId",
		"Distributes a new network id to all motes; ends with eventCommandFinished.", changes | dangerous}
	startNetwork   = command[none, none]{45, "startNetwork", "Lets the network form when autoStartNetwork is off. Deprecated.", changes | dangerous}
	setAdvertising = command[advertising, callback]{50, "setAdvertising",
		"Turns advertising on or off network-wide; ends with eventCommandFinished. NOTE 0 means on.", changes | dangerous}
	setDownstreamFrameMode = command[downstreamFrame, callback]{51, "setDownstreamFrameMode",
		"Selects the short or the long downstream slotframe; ends with eventCommandFinished.", changes | dangerous}
	getNetworkConfig = command[none, NetworkConfig]{63, "getNetworkConfig", "Reads the persistent network configuration.", 0}
	getNetworkInfo   = command[none, NetworkInfo]{64, "getNetworkInfo", "Reads network-wide dynamic figures.", 0}
	getIPConfig      = command[none, IPConfig]{67, "getIPConfig", "Reads the mesh IPv6 prefix and mask.", 0}
	setIPConfig      = command[IPConfig, none]{68, "setIPConfig", "Writes the mesh IPv6 prefix (upper 8 bytes) and mask.", changes | dangerous}

	networkCommands = []*spec{setNetworkConfig.spec(), exchangeNetworkID.spec(), startNetwork.spec(), setAdvertising.spec(),
		setDownstreamFrameMode.spec(), getNetworkConfig.spec(), getNetworkInfo.spec(), getIPConfig.spec(), setIPConfig.spec()}
)

// SetNetworkConfig writes the whole configuration.
func (s *Session) SetNetworkConfig(ctx context.Context, c NetworkConfig) error {
	_, err := call(ctx, s, setNetworkConfig, c)
	return err
}

// ExchangeNetworkID gives all motes a new network id; those that do not hear of it are stranded. The handle returned comes
// back in a *CommandFinished.
func (s *Session) ExchangeNetworkID(ctx context.Context, id uint16) (callbackID uint32, err error) {
	r, err := call(ctx, s, exchangeNetworkID, networkID{id})
	return r.CallbackID, err
}

// StartNetwork lets the network form. Deprecated by the vendor.
func (s *Session) StartNetwork(ctx context.Context) error {
	_, err := call(ctx, s, startNetwork, none{})
	return err
}

// SetAdvertising switches advertising. The handle returned comes back in a *CommandFinished.
func (s *Session) SetAdvertising(ctx context.Context, state AdvertisementState) (callbackID uint32, err error) {
	r, err := call(ctx, s, setAdvertising, advertising{state})
	return r.CallbackID, err
}

// SetDownstreamFrameMode selects the downstream slotframe. The handle returned comes back in a *CommandFinished.
func (s *Session) SetDownstreamFrameMode(ctx context.Context, mode DownstreamFrameMode) (callbackID uint32, err error) {
	r, err := call(ctx, s, setDownstreamFrameMode, downstreamFrame{mode})
	return r.CallbackID, err
}

// GetNetworkConfig reads the configuration.
func (s *Session) GetNetworkConfig(ctx context.Context) (NetworkConfig, error) {
	return call(ctx, s, getNetworkConfig, none{})
}

// GetNetworkInfo reads the network's figures.
func (s *Session) GetNetworkInfo(ctx context.Context) (NetworkInfo, error) {
	return call(ctx, s, getNetworkInfo, none{})
}

// GetIPConfig reads the mesh's IPv6 prefix.
func (s *Session) GetIPConfig(ctx context.Context) (IPConfig, error) {
	return call(ctx, s, getIPConfig, none{})
}

// SetIPConfig writes the mesh's IPv6 prefix.
func (s *Session) SetIPConfig(ctx context.Context, c IPConfig) error {
	_, err := call(ctx, s, setIPConfig, c)
	return err
}
