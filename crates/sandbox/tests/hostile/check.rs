pub fn print_digests() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
