;; An action of contract 1.0, by hand: the component around a core module that a test fills in at
;; the end. The core module has `memory`, `realloc`, `log`, `panic` and the helpers below.
(component
  (import "stepwell:action/types@1.0.0" (instance $types
    (type $shape (record
      (field "code" string)
      (field "message" string)
      (field "retryable" bool)
      (field "retry-after-ms" (option u64))
      (field "details" (option string))))
    (export "failure" (type (eq $shape)))))
  (alias export $types "failure" (type $failure))
  (import "stepwell:action/log@1.0.0" (instance $log
    (export "log" (func (param "level" u8) (param "message" string) (param "fields" string)))
    (export "panic" (func (param "message" string) (param "location" string)))))

  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 32768))
    ;; Never frees; grows as it needs to.
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $start i32)
      (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $start) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow (i32.add (i32.const 1)
          (i32.shr_u (i32.sub (global.get $next) (i32.shl (memory.size) (i32.const 16)))
            (i32.const 16)))))))
      (local.get $start)))
  (core instance $libc (instantiate $libc))
  (core func $log (canon lower (func $log "log") (memory $libc "memory")))
  (core func $panic (canon lower (func $log "panic") (memory $libc "memory")))

  (core module $guest
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "host" "panic" (func $panic (param i32 i32 i32 i32)))
    ;; Ok with the JSON at $ptr.
    (func $ok (param $ptr i32) (param $len i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 24) (local.get $ptr))
      (i32.store (i32.const 28) (local.get $len))
      (i32.const 16))
    @GUEST@)
  (core instance $guest (instantiate $guest
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "log" (func $log))
      (export "panic" (func $panic))))))

  (func $run (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $guest "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (instance $handler (export "run" (func $run)))
  (export "stepwell:action/handler@1.0.0" (instance $handler)))
