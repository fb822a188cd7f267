"""What the parts of a system take: energies, times and noise, each with its source."""

from dataclasses import dataclass, fields

from onnlab.optics._check import efficiency, not_negative, positive_length, whole_number


@dataclass(frozen=True)
class Constants:
    """What the parts of a system take. All of it can be changed: ``Constants(mac=1e-12)``.

    The values are orders of magnitude of one small, ordinary system. Put in those of your own parts before
    you believe a comparison.

    Parameters
    ----------
    mac : float
        Energy of a multiply-accumulate, with all that goes with it: 30.85 pJ. Source: the energies, MACs and
        capture of the three systems in Xiang et al. (2025), arXiv:2508.08421, allow 30.82 to 30.94 pJ.
        The arithmetic alone takes far less, 4.6 pJ at 32 bits and 45 nm: Horowitz (2014),
        DOI 10.1109/ISSCC.2014.6757323.
    frame : float
        Energy of a camera for each exposure, whatever it reads: 0 J. Cameras have such a part: LiKamWa et
        al. (2013), DOI 10.1145/2462456.2464448, find that energy does not grow in proportion to pixels.
    read : float
        Energy of a camera for each pixel that it reads, without its converter: 1 nJ. A round figure, near
        2 mW for 320 x 240 pixels 30 times a second (Himax HM01B0, product brief).
    conversion_step : float
        Energy of an analogue-to-digital converter for each of its ``2**bits`` steps, the figure of merit of
        Walden (1999), DOI 10.1109/49.761034: 50 fJ. A round figure: the best reach 2 fJ.
    bits : int
        Bits of the converters: 8.
    write : float
        Energy of a modulator for each number that it shows: 13 pJ, a digital-to-analogue conversion as dear
        as the other way. A panel takes far more: 5 W at 60 pictures of two million pixels are 40 nJ.
    light_efficiency : float
        Share of a laser's electrical energy that reaches the sensor as light, behind all that masks and
        splitters keep and that falls beside the pixels: 0.1, an assumption.
    quantum_efficiency : float
        Electrons for each photon: 0.5, an assumption.
    read_noise : float
        Standard deviation of the read noise in electrons: 5, an assumption.
    snr : float
        Signal-to-noise ratio of a bright reading: 30, an assumption.
    exposure : float
        Duration of an exposure: 1/60 s, the frame time of a common camera.
    read_rate : float
        Pixels that a camera reads in a second: 4.6 million, 320 x 240 in 1/60 s.
    show_time : float
        Time until a modulator shows the next picture: 1/60 s, the frame time of a common panel of liquid
        crystals.
    mac_rate : float
        Multiply-accumulates in a second: 236 billion, half of the 472 GFLOP/s (16 bits) that NVIDIA names
        for the Jetson Nano.

    Raises
    ------
    TypeError, ValueError
        If one is no finite number, is negative, or is zero where it divides; a fraction above 1.
    """

    mac: float = 30.85e-12
    frame: float = 0.0
    read: float = 1e-9
    conversion_step: float = 50e-15
    bits: int = 8
    write: float = 13e-12
    light_efficiency: float = 0.1
    quantum_efficiency: float = 0.5
    read_noise: float = 5.0
    snr: float = 30.0
    exposure: float = 1 / 60
    read_rate: float = 4.6e6
    show_time: float = 1 / 60
    mac_rate: float = 236e9

    def __post_init__(self) -> None:
        whole_number("bits", self.bits, 1, 24)
        for name in (field.name for field in fields(self) if field.name != "bits"):
            not_negative(name, getattr(self, name), "SI units")
        for name in ("snr", "read_rate", "mac_rate"):
            positive_length(name, getattr(self, name), "SI units")
        for name in ("light_efficiency", "quantum_efficiency"):
            efficiency(name, getattr(self, name))
