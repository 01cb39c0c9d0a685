use proptest::prelude::*;

use super::*;

/// The definition, straight from the specification's terms; sums in 64 bits.
fn by_definition(spec: &Spec, input: Input, rows: usize, columns: usize) -> Vec<u8> {
    let [outputs, tap_rows, tap_columns, inputs] = spec.shape;
    let mut bytes = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            for output in 0..outputs {
                let mut sum = i64::from(spec.bias[output]);
                for tap in 0..tap_rows * tap_columns {
                    for channel in 0..inputs {
                        let at = (row * spec.stride + tap / tap_columns) * input.row
                            + (column * spec.stride + tap % tap_columns) * input.pixel
                            + channel;
                        let weight = spec.weights
                            [(output * tap_rows * tap_columns + tap) * inputs + channel];
                        sum += (i64::from(input.data[at]) - i64::from(spec.zero_in))
                            * i64::from(weight);
                    }
                }
                let value = (sum as f32 * spec.scale[output]).round_ties_even();
                let value = (value + f32::from(spec.zero_out))
                    .clamp(f32::from(spec.low), f32::from(spec.high));
                bytes.push(value as u8);
            }
        }
    }
    bytes
}

#[derive(Debug, Clone)]
struct Case {
    spec: Spec,
    rows: usize,
    columns: usize,
    /// Bytes a pixel has beyond its channels.
    spare: usize,
    seed: u64,
}

impl Case {
    /// Runs it on `isa`; gives the bytes found and those expected. Checks that nothing else is written.
    fn run(&self, isa: Isa) -> (Vec<u8>, Vec<u8>) {
        let Case { spec, rows, columns, .. } = self;
        let [outputs, tap_rows, tap_columns, inputs] = spec.shape;
        let pixel = inputs + self.spare;
        let row = (spec.stride * (columns - 1) + tap_columns) * pixel;
        let mut bytes = Bytes(self.seed);
        let data: Vec<u8> = (0..(spec.stride * (rows - 1) + tap_rows) * row + SLACK)
            .map(|_| bytes.next())
            .collect();
        let input = Input { data: &data, row, pixel };
        let conv = Conv::new(spec, isa);
        let written = conv.written();
        let y_pixel = written + self.spare;
        let mut found = vec![99u8; rows * columns * y_pixel];
        conv.run(
            input,
            Output {
                data: &mut found,
                row: columns * y_pixel,
                pixel: y_pixel,
                rows: *rows,
                columns: *columns,
            },
        );
        assert!(found.chunks(y_pixel).all(|pixel| pixel[written..].iter().all(|b| *b == 99)));
        let found = found.chunks(y_pixel).flat_map(|pixel| pixel[..outputs].to_vec()).collect();
        (found, by_definition(spec, input, *rows, *columns))
    }
}

fn case() -> impl Strategy<Value = Case> {
    // 3x3 at stride 1, the most common, has a way of its own.
    let taps = prop_oneof![Just(([3, 3], 1)), ([1usize..4, 1usize..4], 1usize..3)];
    let shape = (1usize..40, taps, 1usize..40);
    let sizes = (1usize..6, 1usize..35, 0usize..20);
    (shape, sizes, any::<(u8, u8, u8, u8)>(), 1u64.., -3.0f32..1.0).prop_map(
        |(shape, (rows, columns, spare), (zero_in, zero_out, a, b), seed, size)| {
            let (outputs, ([tap_rows, tap_columns], stride), inputs) = shape;
            let mut bytes = Bytes(seed);
            let taps = tap_rows * tap_columns * inputs;
            let spec = Spec {
                shape: [outputs, tap_rows, tap_columns, inputs],
                weights: (0..outputs * taps).map(|_| bytes.next() as i8).collect(),
                bias: (0..outputs).map(|_| i32::from(bytes.next()) * 300 - 38_000).collect(),
                scale: (0..outputs)
                    .map(|_| {
                        10f32.powf(size) * f32::from(bytes.next().max(1)) / (taps as f32 * 2e4)
                    })
                    .collect(),
                stride,
                zero_in,
                zero_out,
                low: a.min(b),
                high: a.max(b),
            };
            Case { spec, rows, columns, spare, seed }
        },
    )
}

proptest! {
    #[test]
    fn every_instruction_set_computes_what_the_definition_says(case in case()) {
        for isa in Isa::available() {
            let (found, expected) = case.run(isa);
            prop_assert_eq!(found, expected, "{}", isa);
        }
    }
}

#[test]
fn the_largest_sums_saturate_and_do_not_wrap() {
    println!("instruction sets of this CPU: {:?}", Isa::available());
    for (weight, low_or_high) in [(i8::MAX, 255), (i8::MIN, 0)] {
        let spec = Spec {
            shape: [16, 3, 3, 512],
            weights: vec![weight; 16 * 9 * 512],
            bias: vec![0; 16],
            scale: vec![1.0; 16],
            stride: 1,
            zero_in: 0,
            zero_out: 128,
            low: 0,
            high: 255,
        };
        let data = vec![255; 3 * 3 * 512 + SLACK];
        for isa in Isa::available() {
            let mut found = [7; 16];
            Conv::new(&spec, isa).run(
                Input { data: &data, row: 3 * 512, pixel: 512 },
                Output { data: &mut found, row: 16, pixel: 16, rows: 1, columns: 1 },
            );
            assert_eq!(found, [low_or_high; 16], "{isa}");
        }
    }
}

#[test]
fn an_unknown_or_missing_instruction_set_is_refused_by_name() {
    assert_eq!("portable".parse(), Ok(Isa::Portable));
    assert!("sse9".parse::<Isa>().unwrap_err().contains("portable"));
    let missing = NAMES.iter().find(|(isa, _)| !isa.runs_here()).unwrap().1;
    assert!(missing.parse::<Isa>().unwrap_err().contains("this CPU has no"));
}

/// A small generator of the same bytes everywhere, of extremes often: they are where sums overflow.
pub(crate) struct Bytes(pub u64);

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes(88_172_645_463_325_252)
    }
}

impl Bytes {
    pub fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        match self.0 >> 60 {
            0 => 255,
            1 => 0,
            _ => (self.0 >> 20) as u8,
        }
    }
}
