//! Enums whose variants are stable, documented codes.

/// Declares an enum from a table of variant, code and text: the code is what is published and stored, the
/// text what a person reads. One table, so that no variant can lack either.
macro_rules! coded_enum {
    (
        $(#[$meta:meta])*
        $name:ident, $text_fn:ident: $text_doc:literal,
        $( $variant:ident $code:literal $text:literal; )+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $( #[doc = $text] #[serde(rename = $code)] $variant, )+
        }

        impl $name {
            /// Every variant, in the order of the documentation.
            pub const ALL: &[$name] = &[ $( $name::$variant, )+ ];

            /// The stable code.
            pub fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $code, )+ }
            }

            #[doc = $text_doc]
            pub fn $text_fn(self) -> &'static str {
                match self { $( $name::$variant => $text, )+ }
            }

            /// The list for the documentation: a Markdown table, one row a code.
            pub fn markdown_table() -> String {
                let rows = Self::ALL.iter().map(|c| format!("| `{}` | {} |\n", c.as_str(), c.$text_fn()));
                format!("| code | meaning |\n|---|---|\n{}", rows.collect::<String>())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use coded_enum;
