//! The attribute `#[stepwell_action::action]`.

use proc_macro::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Safety, Type};

/// Makes a function the action that this crate is.
///
/// The function takes one argument by value, of a type that implements `serde::Deserialize`, and
/// returns `Result<Out, Failure>`, `Result<Out, E>` or `Out`, where `Out` implements
/// `serde::Serialize`. It stays callable as it is, so that tests can call it. A crate has one
/// action.
#[proc_macro_attribute]
pub fn action(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let checked = syn::parse2::<ItemFn>(item.clone())
        .map_err(|error| {
            Error::new(
                error.span(),
                "#[action] belongs on a function: fn name(input: In) -> Result<Out, Failure>",
            )
        })
        .and_then(|function| {
            if arguments.is_empty() {
                check(&function).map(|input| (function.clone(), input))
            } else {
                Err(Error::new(
                    function.sig.span(),
                    "#[action] takes no arguments; limits and the name are set in action.toml",
                ))
            }
        });
    match checked {
        Ok((function, input)) => expand(&function, &input).into(),
        // The function is kept, so that one mistake does not make every use of it an error too.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error).into()
        }
    }
}

/// The type of the input, if the function has the shape of an action.
fn check(function: &ItemFn) -> Result<Type, Error> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new(
            token.span(),
            "an action is not async: it sees only its input and waits for nothing",
        ));
    }
    if !matches!(signature.safety, Safety::Default) {
        return Err(Error::new(signature.safety.span(), "an action cannot be an unsafe function"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), "an action is not generic: its input is one type"));
    }
    let mut inputs = signature.inputs.iter();
    let (Some(first), None) = (inputs.next(), inputs.next()) else {
        return Err(Error::new(
            signature.inputs.span(),
            "an action takes one argument, its input: put several values into a struct that derives serde::Deserialize",
        ));
    };
    match first {
        FnArg::Receiver(receiver) => {
            Err(Error::new(receiver.span(), "an action is a free function, not a method"))
        }
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) => {
                Err(Error::new(reference.span(), "an action takes its input by value"))
            }
            Type::ImplTrait(implied) => {
                Err(Error::new(implied.span(), "an action's input is one type, not `impl Trait`"))
            }
            owned => Ok(owned.clone()),
        },
    }
}

fn expand(function: &ItemFn, input: &Type) -> proc_macro2::TokenStream {
    // What is made here must not hide what the author named: the function, its input's type, or a module of either. So
    // every name is one that nobody chooses.
    let name = &function.sig.ident;
    // With the span of the type, an error about a missing `Deserialize` points at the type.
    let parse = quote_spanned!(input.span()=> ::stepwell_action::__private::parse::<#input>);
    quote! {
        #function

        #[allow(unexpected_cfgs)]
        const _: () = {
            use ::stepwell_action::__private as __stepwell_glue;
            #[allow(unused_imports)]
            use __stepwell_glue::{AnswerError as _, AnswerFailure as _, AnswerPlain as _, HasResultSchema as _, HasSchema as _, NoSchema as _};

            fn __stepwell_run(__stepwell_input: ::std::string::String) -> ::core::result::Result<::std::string::String, ::stepwell_action::Failure> {
                let __stepwell_input = #parse(__stepwell_input)?;
                (&&&__stepwell_glue::probe_output(#name)).answer(#name(__stepwell_input), ::core::file!(), ::core::line!())
            }
            // Compiled everywhere, so that an editor and a native test see what is wrong.
            const _: fn(::std::string::String) -> ::core::result::Result<::std::string::String, ::stepwell_action::Failure> = __stepwell_run;

            #[cfg(target_arch = "wasm32")]
            struct __StepwellHandler;

            #[cfg(target_arch = "wasm32")]
            impl __stepwell_glue::Guest for __StepwellHandler {
                #[cfg(not(stepwell_describe))]
                fn run(__stepwell_input: ::std::string::String) -> ::core::result::Result<::std::string::String, __stepwell_glue::WireFailure> {
                    __stepwell_glue::start();
                    __stepwell_glue::answer(__stepwell_run(__stepwell_input))
                }

                // How `stepwell action build` learns the schemas: it builds the action once more
                // with this setting and calls it, so that the shipped module carries none of this.
                #[cfg(stepwell_describe)]
                fn run(_: ::std::string::String) -> ::core::result::Result<::std::string::String, __stepwell_glue::WireFailure> {
                    ::core::result::Result::Ok(__stepwell_glue::description(
                        (&&&__stepwell_glue::probe_input(#name)).schema(__stepwell_glue::input_settings()),
                        (&&&__stepwell_glue::probe_output(#name)).schema(__stepwell_glue::output_settings()),
                    ))
                }
            }

            #[cfg(target_arch = "wasm32")]
            ::stepwell_action::bindings::export!(__StepwellHandler);
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(function: &str) -> Result<String, String> {
        let function = syn::parse_str::<ItemFn>(function).expect("a function");
        check(&function).map(|input| quote!(#input).to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_function_of_one_value_is_an_action() {
        assert_eq!(checked("fn f(input: In) -> Out {}").as_deref(), Ok("In"));
        assert_eq!(checked("pub fn f(In { a, .. }: In) -> Result<Out, Failure> {}").as_deref(), Ok("In"));
        assert_eq!(checked("fn f(items: Vec<Item>) {}").as_deref(), Ok("Vec < Item >"));
    }

    #[test]
    fn any_other_function_is_told_why_it_is_none() {
        for (function, why) in [
            ("async fn f(input: In) -> Out {}", "an action is not async"),
            ("unsafe fn f(input: In) -> Out {}", "an action cannot be an unsafe function"),
            ("fn f<T>(input: T) -> Out {}", "an action is not generic"),
            ("fn f() -> Out {}", "an action takes one argument"),
            ("fn f(a: u8, b: u8) -> Out {}", "an action takes one argument"),
            ("fn f(input: &In) -> Out {}", "an action takes its input by value"),
            ("fn f(input: impl Fn()) -> Out {}", "an action's input is one type"),
            ("fn f(self) -> Out {}", "an action is a free function"),
        ] {
            let error = checked(function).expect_err(function);
            assert!(error.starts_with(why), "{function}: {error}");
        }
    }

    /// The first name after each of these words is one that the expansion makes.
    #[test]
    fn no_name_that_an_author_could_choose_is_taken() {
        let function = syn::parse_str::<ItemFn>("fn f(input: In) -> Out {}").expect("a function");
        let input = check(&function).expect("an action");
        let text = expand(&function, &input).to_string();
        let made = text.strip_prefix(&quote!(#function).to_string()).expect("the function comes first");
        let words: Vec<&str> = made.split_whitespace().collect();
        let mut names = Vec::new();
        for (before, name) in words.iter().zip(&words[1..]) {
            // The method of the contract lies in an `impl`, where it hides nothing.
            let named = name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if ["fn", "struct", "as", "let", "mod"].contains(before) && named && !["_", "run"].contains(name)
            {
                names.push(*name);
            }
        }
        assert!(names.len() >= 4, "{names:?}");
        assert!(names.iter().all(|name| name.to_lowercase().starts_with("__stepwell")), "{names:?}");
    }
}
