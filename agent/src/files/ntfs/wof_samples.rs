//! One text packed by each algorithm of system compression, made by wimlib, for the tests of both.

/// Copies near and far, one long one, and calls of x86 code to one place and to changing ones.
pub(super) fn text() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0..60 {
        let target: i32 = if line % 2 == 1 { 1000 - 15 * line } else { 5000 };
        text.extend(format!("line {line} calls ").bytes());
        text.push(0xE8);
        text.extend(target.to_le_bytes());
        text.push(b'.');
    }
    text.extend([b'z'; 700]);
    text
}

/// The text packed with XPRESS.
pub(super) const XPRESS: &str = "
    8688008080000000008000800000000006008080000000087877678888000000008080000000000000800000000000007070700070000607
    7070000000070070700000000700007070000000000070700000000000007070000000000070700000000000007070000000000070700000
    0000000077700000000000007000000007000000000000700000000000000000000000000000000000000000000000007000400300000000
    7000003500000000000000000000000000000003030000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000000000000000000000000000000000dda653cb4ffcc566de347e9f392ff7a6a9a783d4e1db5607
    9a0c1eb41a9919bc10356479986f6f323ca8371219dce437891da31a117efd4070282842a55e180e1345a1c408c570a308ef84e3355215c9
    805c468a877222208c91c8a1a408285d02721f290ee545408922b3221190f44872282902bb1c39821401c58d400e234543511190cd485724
    027218291c4a8a8092452087912250fc04e43d521c8a8a80944743911190e34847302220b091c8a1a4082868027219291c0a8a80ee45bfc8
    98d30000ffb802
";

/// The text packed with LZX.
pub(super) const LZX: &str = "
    762000220000150000553000275ee5922e30f5fbe52a3819efbedfbdb877c4d43163242995ab83d9288ca6c41855664c322511a3c48c5ea6
    a552ca18a194000000008019200200193f402bae2eae4d80fb95c0f700000000000066041b02fbbecfe055816b6bc4663676ea35ddaa4e8f
    ab38ce56faab7cc892e0719d18131c0c885c5d79e684481bac182c28a4b461ca7f244dfb90aa62cc37a5a95a2c8b8e53a96618e4cea9aaf6
    7b064115d5ee685296b02f3352198c1aa654f5856b4c8a23e5919ca448e2d216b1833729349599674376f2821353531d281cc8e191f33527
    0752503aa56f4a27199d5dd0ea9094bc49f1d48ef4713c8f731221373c5083922949292e9bf1d9655b0f4ec9985447f8c81dedf33d270592
    257c375054257e917e6ed6f5
";

/// The bytes behind hexadecimal digits.
pub(super) fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Tries every cut and some changes of each byte: errors or other bytes may come of it, and nothing worse.
pub(super) fn damage(packed: &[u8], decompress: impl Fn(&[u8], &mut [u8]) -> crate::files::Result<()>) {
    let mut output = vec![0; text().len()];
    for length in 0..packed.len() - 4 {
        assert!(decompress(&packed[..length], &mut output).is_err(), "cut to {length} bytes");
    }
    let mut refused = 0;
    for at in 0..packed.len() {
        for change in [1, 0x10, 0x80, 0xFF] {
            let mut packed = packed.to_vec();
            packed[at] ^= change;
            refused += u32::from(decompress(&packed, &mut output).is_err());
        }
    }
    assert!(refused > 100, "only {refused} changes were refused");
}
