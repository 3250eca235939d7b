;; An action that builds an HTTP request and sends it, as language runtimes are able to do. It
;; gives the discriminant of the result, and of the error in it.
(component
  (import "stepwell:action/types@1.0.0" (instance $types
    (type $shape (record (field "code" string) (field "message" string) (field "retryable" bool)
      (field "retry-after-ms" (option u64)) (field "details" (option string))))
    (export "failure" (type (eq $shape)))))
  (alias export $types "failure" (type $failure))

  (import "wasi:http/types@0.2.3" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "future-incoming-response" (type $future (sub resource)))
    (type $code (variant (case "DNS-timeout") (case "internal-error" (option string))
      (case "HTTP-request-denied")))
    (export "error-code" (type $error (eq $code)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $request))))
    (export "[method]outgoing-request.authority" (func (param "self" (borrow $request)) (result (option string))))))
  (alias export $http "outgoing-request" (type $request))
  (alias export $http "future-incoming-response" (type $future))
  (alias export $http "error-code" (type $error))
  (import "wasi:http/outgoing-handler@0.2.3" (instance $out
    (alias outer 1 $request (type $inner-request))
    (alias outer 1 $future (type $inner-future))
    (alias outer 1 $error (type $inner-error))
    (export "outgoing-request" (type $r (eq $inner-request)))
    (export "future-incoming-response" (type $f (eq $inner-future)))
    (export "error-code" (type $e (eq $inner-error)))
    (export "handle" (func (param "request" (own $r)) (result (result (own $f) (error $e)))))))

  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $authority (canon lower (func $http "[method]outgoing-request.authority")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $handle (canon lower (func $out "handle") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $guest
    (import "libc" "memory" (memory 1))
    (import "http" "fields" (func $fields (result i32)))
    (import "http" "request" (func $request (param i32) (result i32)))
    (import "http" "authority" (func $authority (param i32 i32)))
    (import "http" "handle" (func $handle (param i32 i32)))
    (func (export "run") (param i32 i32) (result i32)
      (local $request i32)
      (local.set $request (call $request (call $fields)))
      (call $authority (local.get $request) (i32.const 128))
      (call $handle (local.get $request) (i32.const 64))
      ;; Two digits: whether it failed, and how.
      (i32.store8 (i32.const 32) (i32.add (i32.const 48) (i32.load8_u (i32.const 64))))
      (i32.store8 (i32.const 33) (i32.add (i32.const 48) (i32.load8_u (i32.const 68))))
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 8) (i32.const 32))
      (i32.store (i32.const 12) (i32.const 2))
      (i32.const 0)))
  (core instance $guest (instantiate $guest
    (with "libc" (instance $libc))
    (with "http" (instance
      (export "fields" (func $fields)) (export "request" (func $request))
      (export "authority" (func $authority)) (export "handle" (func $handle))))))
  (func $run (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $guest "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (instance $handler (export "run" (func $run)))
  (export "stepwell:action/handler@1.0.0" (instance $handler)))
