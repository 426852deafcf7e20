cd /tmp/t2; export CARGO_TARGET_DIR=/tmp/target-t2 RUST_BACKTRACE=0
timeout 300 cargo test -p concurrent-futures-tests --offline --test process_lifecycle -- "$@" 2>&1 | tail -${T:-150}
