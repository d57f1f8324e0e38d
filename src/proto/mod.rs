//! Wire codecs of RFC 1928 and RFC 1929: bytes to values and back, no I/O and no clock.
