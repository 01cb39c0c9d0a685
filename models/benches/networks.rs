//! The shipped networks by every kind of kernels that this CPU has: `cargo bench -p modic-models`.
//!
//! For ratios against other runtimes, side by side in one run, see `benches/compare`.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use modic_models::{Isa, Kernels, Network, Runtime};
use ndarray::Array3;

fn networks(criterion: &mut Criterion) {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles");
    let all = Isa::available().into_iter().map(Kernels::Integer).chain([Kernels::Tract]);
    let all: Vec<Kernels> = all.collect();
    for (bundle, channels, size) in [("vertebrae", 3, [320, 320]), ("modic", 6, [256, 160])] {
        let onnx = std::fs::read(bundles.join(bundle).join("network.onnx"))
            .expect("the bundles lie in the source tree");
        let slice = Array3::zeros((channels, size[0], size[1]));
        let mut group = criterion.benchmark_group(bundle);
        group.throughput(Throughput::Elements((size[0] * size[1]) as u64));
        group.sample_size(10);
        for kernels in &all {
            let runtime = Runtime::new(*kernels, 1).expect("one thread needs no pool");
            let mut network = Network::parse(&onnx, channels, 16, &runtime)
                .expect("the shipped networks are readable");
            group.bench_function(kernels.to_string(), |bencher| {
                bencher.iter(|| network.run(black_box(slice.view())));
            });
        }
    }
}

criterion_group!(benches, networks);
criterion_main!(benches);
