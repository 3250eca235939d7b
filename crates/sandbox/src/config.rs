//! The engine's settings: what is on, what things cost, how much a pool slot holds; and the two
//! fingerprints that say what compiled code and stored results depend on.

use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    VariableOperatorCost, WasmBacktraceDetails,
};

/// Where instances get their memory. Everything else is the same, so that code compiled under one
/// is loaded under the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From slots reserved up front for that many calls at once.
    Pooling {
        /// How many calls run at once.
        calls: u32,
    },
    /// From the system, one by one: for a process that only compiles, where a pool's reservation
    /// does not fit a limit on address space.
    OnDemand,
}

/// Core instances one call may have. The scan refuses what expands to more.
pub const CORE_INSTANCES_PER_CALL: u32 = 64;
/// Memories one call may have, over all its core instances.
pub const MEMORIES_PER_CALL: u32 = 8;
/// Tables one call may have, over all its core instances.
pub const TABLES_PER_CALL: u32 = 32;
/// Tables one core module may have.
pub const TABLES_PER_MODULE: u32 = 4;
/// Elements one table may have.
pub const TABLE_ELEMENTS: u32 = 20_000;
/// Initial memory images up to this size are mapped copy-on-write even where they are mostly
/// holes: a 12 MB JavaScript engine then starts in a third of the time.
const DENSE_IMAGE_BYTES: u64 = 16 << 20;
/// What of a table is wiped by hand after a call, not given back to the system: nearly all tables
/// are small, and a page that stays saves a system call and a fault.
const TABLE_RESIDENT_BYTES: usize = 16 << 10;
/// Frames kept of a trap's backtrace.
const BACKTRACE_FRAMES: usize = 20;
/// Metadata of one instance: 30,000 functions with a reference each fit.
const INSTANCE_BYTES: usize = 4 << 20;

/// The settings of every engine in this crate.
pub fn settings(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .operator_cost(prices())
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        // What is on, and what is off although the engine has it: `admit/features.rs` names both
        // to the authors of modules.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_features(wasmtime::WasmFeatures::GC | wasmtime::WasmFeatures::FUNCTION_REFERENCES, false)
        .wasm_component_model(true)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_BYTES)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES))
        // Names come from the name section. A stranger's DWARF is never read.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.allocation_strategy(match allocation {
        Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        Allocation::Pooling { calls } => InstanceAllocationStrategy::Pooling(pool(calls)),
    });
    config
}

/// A pool in which as many calls fit as there are permits, whatever shape their modules have.
fn pool(calls: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_PER_CALL))
        .total_memories(calls.saturating_mul(MEMORIES_PER_CALL))
        .total_tables(calls.saturating_mul(TABLES_PER_CALL))
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_PER_CALL)
        .max_memories_per_component(MEMORIES_PER_CALL)
        .max_tables_per_component(TABLES_PER_CALL)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_PER_MODULE)
        .table_elements(TABLE_ELEMENTS as usize)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        // 48.0.8 can show a page that was swapped out to the slot's next tenant.
        .pagemap_scan(Enabled::No);
    pool
}

/// Fuel that instantiation may use, apart from the call's own: whether data segments are metered
/// depends on the platform, so it is not part of what a call is said to have used.
pub(crate) const INSTANTIATION_FUEL: u64 = 1_000_000_000;
/// Fuel for every call into the host.
pub(crate) const HOST_CALL_FUEL: u64 = 500;

/// What operators cost. The engine's defaults (1 for nearly everything) leave some that burn
/// seconds for next to nothing: growing memory by nothing, or in vain, was free.
fn prices() -> OperatorCost {
    OperatorCost {
        MemoryGrow: 100,
        TableGrow: 20,
        RefFunc: 60,
        ElemDrop: 20,
        variable: VariableOperatorCost { memory_grow_per_page: 100, ..VariableOperatorCost::new() },
        ..OperatorCost::new()
    }
}

/// What compiled code depends on: the engine's version, settings and target, and this processor.
pub fn compatibility(engine: &Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new_with_prefix("stepwell compiled code 1\n"));
    engine.precompile_compatibility_hash().hash(&mut sha);
    sha.0.finalize().into()
}

/// The engine's version. A test holds it against the lock file.
pub(crate) const WASMTIME: &str = "48.0.8";

/// Raise it whenever output, logs or fuel of some module change although no setting did.
const RULES: u32 = 2;

/// What results depend on besides module, input, seed and start time, whatever the machine. Short: it is stored with them.
pub fn semantics() -> String {
    let text = format!(
        "stepwell semantics {RULES}; wasmtime {WASMTIME}; nan canonical; prices {:?}; host call \
         {HOST_CALL_FUEL} + 1 a byte; contract 1.0",
        prices()
    );
    crate::host::hex(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_has_the_version_that_results_are_stored_under() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n")));
    }

    #[test]
    fn code_compiled_without_a_pool_is_loaded_with_one() {
        let compiler = Engine::new(&settings(Allocation::OnDemand)).unwrap();
        let runner = Engine::new(&settings(Allocation::Pooling { calls: 2 })).unwrap();
        assert_eq!(compatibility(&compiler), compatibility(&runner));

        let mut other = settings(Allocation::OnDemand);
        other.cranelift_nan_canonicalization(false);
        assert_ne!(compatibility(&compiler), compatibility(&Engine::new(&other).unwrap()));
    }
}
